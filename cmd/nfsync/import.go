package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/adopt"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/policytree"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

type importOptions struct {
	snapshots []string
	fleet     fleetOptions
	narrow    narrowOptions
	out       string
	all       bool
}

func importCommand(a *app) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Write policies that want what is on this node already",
		Long: `Import prints policies of this node, or of those of snapshots, as they are. A
plan with them is empty: what a plan would change, save for the next start or
refuse is not in them. Comments name it, and say why.

It takes levels, limits, and the timeouts and sysctls that differ from the
kernel's defaults. --all takes every value. Containers with the same values
share a policy, which names them.

--out writes the policies to a new file (*.yaml), or each to a file of its own
below a directory. A file that exists is an error, and so is one larger than a
policy file may be: then nothing is written.`,
		Example: `  nfsync import > hn-1.yaml
  nfsync import --out policies/
  nfsync import --snapshot snapshots/ --target 'container/web-*'`,
		Args:              argCount(0, 0, ""),
		Annotations:       prints(view.Policies),
		ValidArgsFunction: completeNothing,
		RunE:              withContext(func(ctx context.Context, _ []string) error { return a.importPolicies(ctx, &o) }),
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.snapshots, "snapshot", nil, "import the nodes of these NodeSnapshots: a `file`, a directory or a pattern; - is standard input; may be repeated")
	f.StringVar(&o.out, "out", "", "write to this new `file` (*.yaml), or to new files below this directory")
	f.BoolVar(&o.all, "all", false, "import values that are the kernel's defaults too")
	o.narrow.register(f)
	return cmd
}

func (a *app) importPolicies(ctx context.Context, o *importOptions) error {
	if err := cmp.Or(o.narrow.parse(), checkStdin(append(o.snapshots, a.configFile)...), o.fleet.find(o.snapshots)); err != nil {
		return err
	}
	nodes, err := a.snapshots(ctx, o)
	if err != nil {
		return err
	}
	if err := checkAny(o.narrow.filter, nodes); err != nil {
		return err
	}
	policies := adopt.Nodes(nodes, adopt.Options{All: o.all, Filter: o.narrow.filter})
	var files []newFile
	if o.out == "" || nf.IsPolicyFile(o.out) {
		var text strings.Builder
		if err := view.Policies.Write(&text, view.FormatYAML, policies, view.Options{}); err != nil {
			return err
		}
		files = []newFile{{o.out, text.String()}}
	} else if files, err = policyFiles(o.out, policies); err != nil {
		return err
	}
	err = checkSizes(files)
	if o.out == "" {
		if err != nil {
			a.say(slog.LevelWarn, err.Error(), hintFor(err, ""))
		}
		return show(a, exitOK, view.Policies, policies)
	}
	if err == nil {
		err = writeNew(files)
	}
	if err != nil {
		return err
	}
	return a.printNames(files)
}

// checkAny returns an error for a target of the filter that the nodes lack.
func checkAny(f nf.Filter, nodes []nf.Snapshot) error {
	if len(nodes) == 1 {
		return f.Check(&nodes[0])
	}
	var lacking [][]nf.TargetPattern
	for i := range nodes {
		lacking = append(lacking, f.Lacking(&nodes[i]))
	}
	return f.CheckAny(lacking)
}

// snapshots returns the snapshots that are named, or that of this node.
func (a *app) snapshots(ctx context.Context, o *importOptions) ([]nf.Snapshot, error) {
	if len(o.snapshots) == 0 {
		s, err := apply.Snapshot(ctx, a.facts(), nil)
		return []nf.Snapshot{s}, err
	}
	var list []nf.Snapshot
	for _, name := range o.fleet.files {
		file, err := o.fleet.read(name)
		if err != nil {
			return nil, fmt.Errorf("cannot read the snapshot: %w", err)
		}
		for d := range spec.Documents(file) {
			s, wrong := d.Snapshot()
			if len(wrong) > 0 {
				return nil, a.refuse(exitError, wrong, "the snapshot is not valid: nothing was imported")
			}
			list = append(list, s)
		}
	}
	return list, nil
}

// newFile is a file that is to be written, and may not exist.
type newFile struct{ path, text string }

// policyFiles returns a file below dir for each policy.
func policyFiles(dir string, policies []adopt.Policy) ([]newFile, error) {
	below := map[string]string{nf.KindNodePolicy: "nodes", nf.KindContainerPolicy: "containers"}
	var files []newFile
	for _, p := range policies {
		text, err := view.PolicyText(p)
		if err != nil {
			return nil, err
		}
		files = append(files, newFile{filepath.Join(dir, below[p.Kind], p.Source.Name+".yaml"), string(text)})
	}
	return files, nil
}

// checkSizes returns an error if a file, or all of them together, are larger than policies may be.
func checkSizes(files []newFile) error {
	sum := 0
	for _, f := range files {
		sum += len(f.text)
		if len(f.text) <= policytree.MaxFile {
			continue
		}
		err := fmt.Errorf("cannot write %s: it would be larger than %d MiB, and no policy file may be", f.path, policytree.MaxFile>>20)
		if f.path == "" {
			err = fmt.Errorf("these policies are larger than %d MiB, and no policy file may be", policytree.MaxFile>>20)
		}
		if len(files) > 1 {
			return hinted{err, "import a part, with --target"}
		}
		return hinted{err, "--out DIR/ writes each policy to a file of its own; --target selects a part"}
	}
	if sum > policytree.MaxPolicies {
		err := fmt.Errorf("cannot write the policies: they would be larger than %d MiB together, and no policies may be", policytree.MaxPolicies>>20)
		return hinted{err, "import a part, with --target"}
	}
	return nil
}

// writeNew writes new files, with the directories that they need: all of them, or none.
func writeNew(files []newFile) (err error) {
	for _, f := range files {
		if _, err := os.Lstat(f.path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot write %s: %w; nothing was written", f.path, cmp.Or(err, fs.ErrExist))
		}
	}
	var made []string
	defer func() {
		for i := len(made) - 1; err != nil && i >= 0; i-- {
			_ = os.Remove(made[i]) // best effort: the error counts
		}
	}()
	for _, f := range files {
		dirs, err := mkdirs(filepath.Dir(f.path))
		made = append(made, dirs...)
		if err != nil {
			return fmt.Errorf("cannot write %s: %w", f.path, err)
		}
		to, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		made = append(made, f.path)
		_, err = to.WriteString(f.text)
		if err = errors.Join(err, to.Close()); err != nil {
			return err
		}
	}
	return nil
}

// mkdirs makes a directory and those above it, and returns those that it has made.
func mkdirs(dir string) (made []string, err error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return nil, &fs.PathError{Op: "mkdir", Path: dir, Err: fs.ErrExist}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if made, err = mkdirs(filepath.Dir(dir)); err != nil {
		return made, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return made, err
	}
	return append(made, dir), nil
}

// printNames prints the names of files that were written.
func (a *app) printNames(files []newFile) error {
	var text strings.Builder
	for _, f := range files {
		text.WriteString(view.Clean(f.path) + "\n")
	}
	_, err := a.stdout.Write([]byte(text.String()))
	return finish(exitOK, err)
}
