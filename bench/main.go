// Bench measures nfsync beside its floors, which are bare loops that do the same work and nothing
// else, and beside what people use instead. It makes its own scenes, in namespaces of its own, and
// writes what it has measured as a page.
//
//	bench -out docs/performance.md     everything, about 20 minutes
//	bench -quick                       less of it, to standard output, about 2 minutes
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"nfsync.dev/nfsync/internal/vz/vztest"
)

// options are those of the command line.
type options struct {
	out    string // file of the page; empty: standard output
	nfsync string // the program that is measured
	size   sizes
}

func main() {
	vztest.Main()
	if len(os.Args) > 2 && os.Args[1] == partVerb {
		exit(runPart(os.Args[2], os.Args[3:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := runMain(ctx, os.Args[1:])
	stop()
	exit(err)
}

// exit ends the program with what became of it.
func exit(err error) {
	if ended, ok := errors.AsType[exitStatus](err); ok {
		os.Exit(int(ended))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runMain enters the namespaces, and measures inside them.
func runMain(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	work := os.Getenv(insideVariable)
	if work == "" {
		return runInside(ctx, args)
	}
	if err := isolate(); err != nil {
		return err
	}
	b, err := newBench(ctx, o.nfsync, work, o.size)
	if err != nil {
		return err
	}
	switch err := b.run(); {
	case ctx.Err() != nil:
		return errors.New("interrupted: its namespaces are gone, and no page was written")
	case err != nil:
		return err
	}
	page, err := b.page()
	if err != nil {
		return err
	}
	if o.out == "" {
		_, err = os.Stdout.Write(page)
		return err
	}
	return os.WriteFile(o.out, page, 0o644)
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ExitOnError)
	f.StringVar(&o.out, "out", "", "write the page to this `file`, not to standard output")
	f.StringVar(&o.nfsync, "nfsync", "bin/nfsync", "the `program` that is measured")
	isQuick := f.Bool("quick", false, "fewer sizes and runs")
	isSmoke := f.Bool("smoke", false, "the smallest scenes, to try this program")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	o.size = full
	if *isQuick {
		o.size = quick
	}
	if *isSmoke {
		o.size = smoke
	}
	o.nfsync, err = filepath.Abs(o.nfsync)
	if err != nil {
		return o, err
	}
	if _, err := os.Stat(o.nfsync); err != nil {
		return o, fmt.Errorf("cannot find nfsync: %w: run make build first", err)
	}
	return o, nil
}
