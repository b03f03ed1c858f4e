// Command nfsync-coordinator rolls the policies of a repository out to a fleet of nodes, and hands out the
// credentials of its members.
//
// This package is flags and wiring: one file a verb, no decisions.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // of the windows of roll-outs, where the system has none

	"nfsync.dev/nfsync/internal/journal"
	"nfsync.dev/nfsync/internal/source"
)

// version is set by the linker, see Makefile.
var version string

func main() {
	source.RunChild()
	os.Exit(run(context.Background(), app{args: os.Args[1:], stdout: os.Stdout, stderr: os.Stderr, journal: journal.IsStderr()}))
}

// run is the whole command: from the arguments to the exit code.
func run(ctx context.Context, a app) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal, no longer caught, ends the process at once.
	defer context.AfterFunc(ctx, stop)()
	root := a.command()
	root.SetArgs(a.args)
	called, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	a.explain(err, called.CommandPath())
	return exitError
}

// app is one run of the command: its arguments and streams, and the flags that every verb has.
type app struct {
	args           []string
	stdout, stderr io.Writer
	journal        bool // stderr is the journal's
	configFile     string
	configGiven    bool
	dir            string // --dir; empty: that of the configuration
	format         string
	logFormat      string
	owner          *owner // whom root acts as; nil: nobody else
}
