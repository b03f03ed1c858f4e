package main

import (
	"cmp"
	"context"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/view"
)

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "Print which nfsync this is",
		Example:           `  nfsync version -o json`,
		Args:              argCount(0, 0, ""),
		Annotations:       prints(view.Builds),
		ValidArgsFunction: completeNothing,
		RunE:              withContext(func(context.Context, []string) error { return show(a, exitOK, view.Builds, buildInfo()) }),
	}
}

// versionText returns the output of version and of --version.
func versionText() string {
	var b strings.Builder
	if err := view.Builds.Write(&b, view.FormatText, buildInfo(), view.Options{}); err != nil {
		return ""
	}
	return b.String()
}

// buildInfo returns what the linker was given, completed by what the compiler
// recorded.
func buildInfo() view.Build {
	info, _ := debug.ReadBuildInfo() // nil where the compiler recorded nothing
	return buildOf(info, version)
}

// buildOf returns the build that was linked with a version, or with none.
func buildOf(info *debug.BuildInfo, linked string) view.Build {
	b := view.Build{Version: linked, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info == nil {
		info = &debug.BuildInfo{}
	}
	if b.Version == "" {
		b.Version = cmp.Or(strings.Trim(info.Main.Version, "()"), "devel") // (devel) where the compiler knows none
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		case "vcs.modified":
			b.Dirty = new(s.Value == "true")
		}
	}
	return b
}
