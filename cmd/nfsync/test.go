package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/durable"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/policytest"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

type testOptions struct {
	run      string
	update   bool
	snapshot string // of the test that is to be begun
	verbose  bool
}

func testCommand(a *app) *cobra.Command {
	var o testOptions
	cmd := &cobra.Command{
		Use:   "test DIR",
		Short: "Test what the policies bring, by the expectations beside them",
		Long: `Test plans with the policies below a directory for the nodes of snapshots, and
compares the plans with what the PolicyTest documents of that directory expect:
wants, changes, refusals, pending entries and warnings. They stand in files such
as web_test.yaml. It needs no kernel and no access to a node.

--update makes the expectations that do not hold what is there now, and leaves
the rest of the files as it is; with --snapshot it begins a new file of tests.

A snapshot is a file of the git repository that the directory is in, or of the
directory itself where that is in none. A list of expectations that a test does
not have is not compared; [] expects none.

It ends with 1 if a test fails, if there is no test, or if a snapshot cannot be
read, and with 4 if a policy or a test is invalid: then nothing is tested.`,
		Example: `  nfsync test policies/
  nfsync test policies/ --run '^web' -v
  nfsync test policies/ --update --snapshot snapshots/hn-7.yaml`,
		Args:              argCount(1, 1, "the directory of the policies and their tests"),
		Annotations:       prints(view.PolicyTests),
		ValidArgsFunction: completePath,
		RunE:              withContext(func(ctx context.Context, args []string) error { return a.testPolicies(ctx, &o, args[0]) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.run, "run", "", "only the tests whose names match this regular `expression`")
	f.BoolVar(&o.update, "update", false, "write what is there now into the expectations that do not hold")
	f.StringVar(&o.snapshot, "snapshot", "", "with --update: begin a test about the node of this NodeSnapshot, a `file`")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "list the tests that pass too")
	f.BoolVar(&a.allowEmpty, "allow-empty", false, "it is no error if there is no test, or no policy")
	return cmd
}

func (a *app) testPolicies(ctx context.Context, o *testOptions, dir string) error {
	run, err := regexp.Compile(o.run)
	if err != nil {
		return usageError{fmt.Errorf("--run: %w", err)}
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return usageError{fmt.Errorf("%s is no directory: name that of the policies, and select tests with --run", dir)}
	}
	if o.snapshot != "" && !o.update {
		return usageError{errors.New("--snapshot begins a test: it needs --update")}
	}
	read, err := a.readPath(dir)
	if err != nil {
		return err
	}
	if o.snapshot != "" {
		begun, err := newTest(dir, o.snapshot)
		if err != nil {
			return err
		}
		read.Files = append(read.Files, begun)
	}
	parsed, found := spec.ParseAll(read.Files)
	found = append(read.Diagnostics, found...)
	if len(parsed.Policies)+len(found) == 0 && !a.allowEmpty {
		found = append(found, spec.NoPolicies(dir, len(read.Files)))
	}
	if len(found) > 0 {
		return a.refuse(exitInvalid, found, "the policies or their tests are invalid: nothing was tested")
	}
	tests := slices.DeleteFunc(slices.Clone(parsed.Tests), func(t spec.PolicyTest) bool { return !run.MatchString(t.Source.Name) })
	switch {
	case len(parsed.Tests) == 0 && !a.allowEmpty:
		return hinted{fmt.Errorf("there is no test below %s", dir), "begin one: nfsync test DIR --update --snapshot FILE; --allow-empty allows none"}
	case len(tests) == 0 && o.run != "" && !a.allowEmpty:
		return fmt.Errorf("no test of %d has a name that matches %q", len(parsed.Tests), o.run)
	}
	repository, err := spec.OpenRepository(dir)
	if err != nil {
		return err
	}
	defer repository.Close()
	q := policytest.Question{Path: dir, Policies: parsed.Policies, Tests: tests, Read: func(name string) (spec.File, error) { return repository.Read(name, maxDocument) }}
	var results nf.PolicyTestResults
	if o.update {
		results, err = updateTests(ctx, q, read.Files)
	} else {
		results, err = policytest.Run(ctx, q)
	}
	if err != nil {
		return err
	}
	code := exitOK
	if results.Summary.Failed > 0 {
		code = exitError
	}
	a.full = o.verbose
	return show(a, code, view.PolicyTests, results)
}

// updateTests writes what is there now into the files of the tests.
func updateTests(ctx context.Context, q policytest.Question, files []spec.File) (nf.PolicyTestResults, error) {
	changed, results, err := policytest.Update(ctx, q, files)
	if err != nil {
		return results, err
	}
	for _, f := range changed {
		mode := fs.FileMode(0o644)
		if info, err := os.Stat(f.Name); err == nil {
			mode = info.Mode().Perm()
		}
		if err := (durable.Writer{}).Replace(f.Name, f.Data, mode); err != nil {
			return results, fmt.Errorf("cannot write the tests: %w", err)
		}
		results.Updated = append(results.Updated, f.Name)
	}
	return results, nil
}

// newTest returns a file with a test about the node of a snapshot, which expects nothing. The file
// is in the directory of the policies, and has the name of that of the snapshot.
func newTest(dir, snapshot string) (spec.File, error) {
	real := []string{dir, snapshot}
	for i, name := range real {
		var err error
		if real[i], err = filepath.Abs(name); err == nil {
			real[i], err = filepath.EvalSymlinks(real[i])
		}
		if err != nil {
			return spec.File{}, err
		}
	}
	relative, err := filepath.Rel(real[0], real[1])
	if err != nil {
		return spec.File{}, err
	}
	name := strings.TrimSuffix(filepath.Base(snapshot), filepath.Ext(snapshot))
	file := filepath.ToSlash(filepath.Join(dir, name+"_test.yaml"))
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return spec.File{}, hinted{fmt.Errorf("cannot begin a test: %s exists", file), "nfsync test --update without --snapshot updates the tests in it"}
	}
	return spec.NewTest(file, name, filepath.ToSlash(relative)), nil
}
