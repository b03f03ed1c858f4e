package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/source"
)

func TestMain(m *testing.M) {
	source.RunChild()
	testscript.Main(m, map[string]func(){
		"nfsync-coordinator": func() {
			os.Exit(run(context.Background(), app{args: os.Args[1:], stdout: os.Stdout, stderr: os.Stderr}))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Cmds:               map[string]func(*testscript.TestScript, bool, []string){"engine": engineCommand, "mode": mode, "put": putCommand, "nodes": nodesCommand},
	})
}

// mode is the command mode FILE MODE: the file has that mode.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := info.Mode().String(); got != args[1] {
		ts.Fatalf("%s has the mode %s, not %s", args[0], got, args[1])
	}
}

// Each verb has an example, and no line of its help is longer than 80 columns.
func TestHelp(t *testing.T) {
	a := &app{}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" {
			return // its texts are cobra's
		}
		if cmd.Example == "" && cmd.Parent() != nil && cmd.Name() != "help" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		for line := range strings.SplitSeq(cmd.Long+"\n"+cmd.Example+"\n"+cmd.UsageString(), "\n") {
			if len(line) > 80 {
				t.Errorf("%s: %q has %d columns", cmd.CommandPath(), line, len(line))
			}
		}
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	walk(a.command())
}

// configured returns the path of a configuration file that scripts have written.
func configured(ts *testscript.TestScript, name string) string {
	return filepath.Join(ts.Getenv("WORK"), name)
}
