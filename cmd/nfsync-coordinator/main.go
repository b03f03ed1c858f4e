// Command nfsync-coordinator rolls the policies of a repository out to a fleet.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // of the windows of roll-outs, where the system has none

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/source"
)

// version is set by the linker, see Makefile.
var version string

// app is one run of the command.
type app struct{ stderr io.Writer }

// hinted is an error with what to do about it.
type hinted struct {
	error
	hint string
}

// Unwrap returns the error.
func (h hinted) Unwrap() error { return h.error }

// say writes one message to stderr.
func (a *app) say(_ slog.Level, message, hint string) {
	text := "nfsync-coordinator: " + message + "\n"
	if hint != "" {
		text += "  " + hint + "\n"
	}
	_, _ = fmt.Fprint(a.stderr, text) // where even stderr is closed, nobody can read an error about it
}

func main() {
	source.RunChild()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{stderr: os.Stderr}
	root := &cobra.Command{Use: "nfsync-coordinator", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(serveCommand(a))
	err := root.ExecuteContext(ctx)
	stop()
	if err != nil {
		a.say(slog.LevelError, err.Error(), "")
		os.Exit(1)
	}
}
