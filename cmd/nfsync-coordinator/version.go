package main

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/view"
)

func versionCommand(a *app) *cobra.Command {
	return a.printed(&cobra.Command{
		Use:     "version",
		Short:   "Print of which nfsync this is the coordinator",
		Example: `  nfsync-coordinator version -o json`,
		Args:    noArguments,
		RunE:    func(*cobra.Command, []string) error { return show(a, view.Builds, buildInfo()) },
	})
}

// buildInfo returns what the linker was given, completed by what the compiler recorded.
func buildInfo() view.Build {
	b := view.Build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	b.Version = cmp.Or(b.Version, strings.Trim(info.Main.Version, "()"), "devel") // (devel) where the compiler knows none
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
