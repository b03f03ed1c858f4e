// Command nfsync keeps the netfilter configuration of a Linux node, and of
// every container on it, equal to policies written in YAML.
//
// This package is flags and wiring: one file a verb, no decisions. The exit
// codes are in exit.go.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host"
	"nfsync.dev/nfsync/internal/journal"
	"nfsync.dev/nfsync/internal/source"
)

// version is set by the linker, see Makefile; buildVersion knows what to say
// where it is not.
var version string

// softMemory is the memory, in bytes, above which garbage is collected early: a large
// document must not take all of a small machine.
const softMemory = 150 << 20

func main() {
	source.RunChild()
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemory)
	}
	os.Exit(run(context.Background(), system{
		args:    os.Args[1:],
		stdin:   os.Stdin,
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		getenv:  os.Getenv,
		journal: journal.IsStderr(),
		machine: func(c host.Config) apply.Machine { return host.New(c) },
	}))
}

// system holds the arguments, streams and environment of the command, and its machine.
type system struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	journal        bool // stderr is the journal
	// machine is the node that the commands observe and change.
	machine func(host.Config) apply.Machine
}

// run is the whole command: from the arguments to the exit code.
func run(ctx context.Context, sys system) int {
	// A reader that goes away (head, a pager) must not end an apply between a
	// change and its read-back, so a write to it is an error like any other.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal undoes what is half done; a second one, no longer
	// caught, ends the process at once. The journal outlives that too.
	defer context.AfterFunc(ctx, stop)()

	if isCNI(sys) {
		sys.args = []string{cniVerb}
	}
	a := &app{system: sys}
	root := a.command()
	root.SetArgs(sys.args)
	called, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	a.explain(err, called.CommandPath())
	return exitCode(err)
}
