package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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
		ValidArgsFunction: completeOne(completeDirectory),
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

// check returns an error for flags that do not go together with each other, or with the directory.
func (o *testOptions) check(dir string) error {
	if _, err := regexp.Compile(o.run); err != nil {
		return usageError{fmt.Errorf("--run: %w", err)}
	}
	if o.snapshot != "" && !o.update {
		return usageError{errors.New("--snapshot begins a test: it needs --update")}
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return usageError{fmt.Errorf("%s is no directory: name that of the policies, and select tests with --run", dir)}
	}
	return nil
}

func (a *app) testPolicies(ctx context.Context, o *testOptions, dir string) error {
	if err := o.check(dir); err != nil {
		return err
	}
	q, files, err := a.readTests(o, dir)
	if err != nil {
		return err
	}
	repository, err := spec.OpenRepository(dir)
	if err != nil {
		return err
	}
	defer repository.Close()
	q.Read = func(name string) (spec.File, error) { return repository.Read(name, maxDocument) }
	var results nf.PolicyTestResults
	if o.update {
		results, err = updateTests(ctx, q, files)
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
	a.full = o.verbose // the text lists all tests
	return show(a, code, view.PolicyTests, results)
}

// readTests reads the policies below a directory, and those of their tests that are selected. It
// also returns the files.
func (a *app) readTests(o *testOptions, dir string) (policytest.Question, []spec.File, error) {
	q := policytest.Question{Path: dir}
	read, err := a.readPath(dir)
	if err == nil && o.snapshot != "" {
		var begun spec.File
		begun, err = newTest(dir, o.snapshot)
		read.Files = append(read.Files, begun)
	}
	if err != nil {
		return q, nil, err
	}
	parsed, found := spec.ParseAll(read.Files)
	found = append(read.Diagnostics, found...)
	if len(parsed.Policies)+len(found) == 0 && !a.allowEmpty {
		found = append(found, spec.NoPolicies(dir, len(read.Files)))
	}
	if len(found) > 0 {
		return q, nil, a.refuse(exitInvalid, found, "the policies or their tests are invalid: nothing was tested")
	}
	run := regexp.MustCompile(o.run) // check has tried it
	for _, t := range parsed.Tests {
		if run.MatchString(t.Source.Name) {
			q.Tests = append(q.Tests, t)
		}
	}
	q.Policies = parsed.Policies
	switch {
	case len(q.Tests) > 0 || a.allowEmpty:
		return q, read.Files, nil
	case len(parsed.Tests) > 0:
		return q, nil, fmt.Errorf("no test of %d has a name that matches %q", len(parsed.Tests), o.run)
	}
	return q, nil, hinted{fmt.Errorf("there is no test below %s", dir), "begin one: nfsync test DIR --update --snapshot FILE; --allow-empty allows none"}
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
