package main

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/adopt"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/policytree"
	"nfsync.dev/nfsync/internal/view"
	"nfsync.dev/nfsync/schemas"
)

// skeleton has what a new repository holds besides the policies of its node.
//
//go:embed skeleton
var skeleton embed.FS

// The services whose files --ci writes.
const (
	ciGitHub = "github"
	ciGitLab = "gitlab"
	ciNone   = "none"
)

// ciFiles are the files of the services, and those of the skeleton that they are.
var ciFiles = map[string]struct{ path, from string }{
	ciGitHub: {".github/workflows/nfsync.yml", "github.yml"},
	ciGitLab: {".gitlab-ci.yml", "gitlab.yml"},
}

func initCommand(a *app) *cobra.Command {
	var services []string
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Lay out a policy repository, with policies of this node as it is",
		Long: `Init writes what a policy repository needs: policies of this node as it is, so
that a plan is empty, a schema for editors, a CI file and a README.

DIR is a new or empty directory, or a git repository without policies. A file
that exists stays as it is. Init neither makes a git repository nor commits.
In a directory below the root of a git repository it writes no CI file: GitHub
and GitLab read theirs at the root only.`,
		Example: `  nfsync init policies-of-hn-1
  nfsync init . --ci gitlab`,
		Args:              argCount(1, 1, "a directory"),
		Annotations:       map[string]string{formatsKey: view.FormatText},
		ValidArgsFunction: completeOne(completeDirectory),
		RunE: withContext(func(ctx context.Context, args []string) error {
			return a.initRepository(ctx, filepath.Clean(args[0]), services)
		}),
	}
	f := cmd.Flags()
	f.StringSliceVar(&services, "ci", nil, "`services` to write a CI file for: github, gitlab, none (default: that of the git remote, else both)")
	return cmd
}

func (a *app) initRepository(ctx context.Context, dir string, services []string) error {
	root, err := checkNewRepository(dir)
	if err != nil {
		return err
	}
	if services, err = ciServices(cmp.Or(root, dir), services); err != nil {
		return err
	}
	if root != "" && root != dir && len(services) > 0 {
		services = nil
		if err := a.sayNoCI(root, dir); err != nil {
			return err
		}
	}
	files, err := a.newRepository(ctx, dir, services)
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(f newFile) bool {
		_, err := os.Lstat(f.path)
		if err == nil {
			a.say(slog.LevelWarn, f.path+" exists, and stays as it is", "")
		}
		return err == nil
	})
	if err := writeNew(files); err != nil {
		return err
	}
	if err := a.printNames(files); err != nil {
		return err
	}
	policies := filepath.Join(dir, "policies")
	next := [][]string{{"nfsync", "validate", policies}, append([]string{"nfsync", "plan", policies}, a.nodeWords()...)}
	git := []string{"git", "-C", dir}
	if dir == "." {
		git = git[:1]
	}
	if root == "" {
		next = append(next, append(slices.Clone(git), "init"))
	}
	next = append(next, append(slices.Clone(git), "add", "."), append(slices.Clone(git), "commit", "-m", "Policies of this node as it is"))
	text := "\nNext:\n"
	for _, words := range next {
		text += "  " + view.CommandLine(words...) + "\n"
	}
	_, err = a.stdout.Write([]byte(text))
	return finish(exitOK, err)
}

// checkNewRepository returns an error unless a repository can be laid out in a directory, and
// the root of the git repository that it is or is in: dir itself, one above it, or "".
func checkNewRepository(dir string) (root string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	isGit := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == ".git" })
	if len(entries) > 0 && !isGit {
		return "", fmt.Errorf("the directory %s is not empty, and no git repository: name a new one", dir)
	}
	policies := filepath.Join(dir, "policies")
	if _, err := os.Lstat(policies); err == nil {
		return "", fmt.Errorf("%s exists: this repository is laid out already", policies)
	}
	if isGit {
		return dir, nil
	}
	real, err := realPath(dir)
	return policytree.RepositoryOf(real), err
}

// realPath returns the absolute path of a file without links. The file and directories above it
// may not exist yet.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
		return real, err
	}
	above, err := realPath(filepath.Dir(path))
	return filepath.Join(above, filepath.Base(path)), err
}

// sayNoCI says why a directory below the root of a repository gets no CI file, and what to do.
func (a *app) sayNoCI(root, dir string) error {
	real, err := realPath(dir)
	if err != nil {
		return err
	}
	within, err := filepath.Rel(root, filepath.Join(real, "policies"))
	if err != nil {
		return err
	}
	a.say(slog.LevelWarn, "no CI file is written: GitHub and GitLab read theirs only at the root of the repository, "+root,
		"write one there that checks "+within+", as docs/ci.md shows, or lay out a repository of its own")
	return nil
}

// ciServices returns the services to write a file for: those that are named, else that of the
// git remote, else all.
func ciServices(root string, named []string) ([]string, error) {
	for _, s := range named {
		if _, ok := ciFiles[s]; !ok && s != ciNone {
			return nil, usageError{fmt.Errorf("--ci: unknown service %q: must be %s, %s or %s", s, ciGitHub, ciGitLab, ciNone)}
		}
	}
	switch {
	case len(named) > 1 && slices.Contains(named, ciNone):
		return nil, usageError{errors.New("--ci: none stands alone")}
	case slices.Contains(named, ciNone):
		return nil, nil
	case len(named) > 0:
		return named, nil
	}
	all := []string{ciGitHub, ciGitLab}
	config, _ := os.ReadFile(filepath.Join(root, ".git", "config")) // without one there is no remote
	for _, s := range all {
		if strings.Contains(string(config), s) {
			return []string{s}, nil
		}
	}
	return all, nil
}

// newRepository returns the files of a new repository.
func (a *app) newRepository(ctx context.Context, dir string, services []string) ([]newFile, error) {
	const schema = "schemas/policy.schema.json"
	policy, _ := schemas.Get("Policy")
	test, _ := schemas.Get(nf.KindPolicyTest)
	files := []newFile{{schema, string(policy)}, {"schemas/policytest.schema.json", string(test)}}
	for _, f := range []struct{ path, from string }{{"README.md", "README.md"}, {".vscode/settings.json", "settings.json"}} {
		files = append(files, skeletonFile(f.path, f.from))
	}
	for _, s := range services {
		files = append(files, skeletonFile(ciFiles[s].path, ciFiles[s].from))
	}
	policies, err := a.firstPolicies(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range policies {
		up, err := filepath.Rel(filepath.Dir(f.path), schema)
		if err != nil {
			return nil, err
		}
		f.text = "# yaml-language-server: $schema=" + filepath.ToSlash(up) + "\n" + f.text
		files = append(files, f)
	}
	for i := range files {
		files[i].path = filepath.Join(dir, files[i].path)
	}
	return files, nil
}

// skeletonFile returns a file of the skeleton under its path in the repository.
func skeletonFile(path, from string) newFile {
	text, err := skeleton.ReadFile("skeleton/" + from)
	if err != nil {
		panic(err) // it is embedded
	}
	return newFile{path, string(text)}
}

// firstPolicies returns the policies of this node as it is or, if it cannot be read, one that wants
// nothing.
func (a *app) firstPolicies(ctx context.Context) ([]newFile, error) {
	s, err := apply.Snapshot(ctx, a.facts(), nil)
	if err != nil && len(a.nodeWords()) > 0 { // a flag names what cannot be read
		return nil, err
	}
	if err != nil {
		a.say(slog.LevelWarn, "the first policy is an example, since this node cannot be read: "+err.Error(), hintFor(err, ""))
		return []newFile{skeletonFile("policies/nodes/nodes.yaml", "policy.yaml")}, nil
	}
	return policyFiles("policies", adopt.Nodes([]nf.Snapshot{s}, adopt.Options{}))
}
