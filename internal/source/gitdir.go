package source

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	gitconfig "github.com/go-git/go-git/v5/plumbing/format/config"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"

	"nfsync.dev/nfsync/internal/openfile"
)

// gitDir is the directory of a repository of this machine: .git, or a bare repository
// (gitrepository-layout(5)).
type gitDir struct {
	path   string // the directory with HEAD; each worktree has its own
	common string // the directory with config, refs and objects, which all worktrees share
}

// findGitDir returns the directory of the repository at a path: of its worktree, of a bare
// repository, or of a .git file, which names another directory.
func findGitDir(path string) (gitDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return gitDir{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return gitDir{}, err
	}
	if !info.IsDir() {
		return followGitFile(path)
	}
	dot := filepath.Join(path, ".git")
	switch info, err := os.Stat(dot); {
	case err == nil && info.IsDir():
		d, err := newGitDir(dot)
		if errors.Is(err, errNoGitDir) {
			err = fmt.Errorf("%s is not a git directory: it lacks HEAD or objects", dot)
		}
		return d, err
	case err == nil:
		return followGitFile(dot)
	case !errors.Is(err, fs.ErrNotExist):
		return gitDir{}, err
	}
	d, err := newGitDir(path)
	if errors.Is(err, errNoGitDir) {
		return d, fmt.Errorf("there is no git repository at %s%s", path, parentHint(path))
	}
	return d, err
}

// errNoGitDir is the error for a directory that is no git directory.
var errNoGitDir = errors.New("not a git directory")

// newGitDir returns the git directory at a path, or errNoGitDir.
func newGitDir(path string) (gitDir, error) {
	d := gitDir{path: path, common: path}
	if _, err := os.Lstat(filepath.Join(path, "HEAD")); err != nil {
		return d, errNoGitDir
	}
	switch text, err := openfile.Read(filepath.Join(path, "commondir"), maxGitFile); {
	case err == nil:
		d.common = from(path, strings.TrimSpace(string(text)))
	case !errors.Is(err, fs.ErrNotExist):
		return d, err
	}
	_, err := os.Stat(filepath.Join(d.common, "objects"))
	switch {
	case err != nil && d.common != d.path:
		return d, fmt.Errorf("it is a worktree of the repository %s, which cannot be read (%w): make that directory available too, or name a clone of its own", d.common, err)
	case errors.Is(err, fs.ErrNotExist):
		return d, errNoGitDir
	}
	return d, err
}

// maxGitFile bounds a .git file and other files that name directories, in bytes.
const maxGitFile = 64 << 10

// followGitFile returns the directory that a .git file names.
func followGitFile(name string) (gitDir, error) {
	text, err := openfile.Read(name, maxGitFile)
	if _, large := errors.AsType[openfile.TooLargeError](err); err != nil && !large {
		return gitDir{}, err
	}
	target, ok := strings.CutPrefix(string(text), "gitdir: ")
	switch {
	case isBundle(name):
		return gitDir{}, fmt.Errorf("%s is a git bundle: make a repository of it with git clone %[1]s DIR, and name that", name)
	case !ok:
		return gitDir{}, fmt.Errorf("%s is a file, not a git repository", name)
	}
	target = from(filepath.Dir(name), strings.TrimRight(target, "\r\n"))
	d, err := newGitDir(target)
	if errors.Is(err, errNoGitDir) {
		return d, fmt.Errorf("%s names %s, where there is no git repository: make that directory available too, or name a clone of its own", name, target)
	}
	return d, err
}

// isBundle reports whether a file begins as git-bundle(1) writes it.
func isBundle(name string) bool {
	f, err := openfile.Regular(name)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, len("# v2 git bundle"))
	n, _ := f.Read(head)
	return strings.HasPrefix(string(head[:n]), "# v") && strings.HasSuffix(string(head[:n]), " git bundle")
}

// from returns the path that a file in a directory names. A relative one begins at the
// directory itself, not at a link to it.
func from(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	return filepath.Join(dir, path)
}

// parentHint names the repository that a directory is in.
func parentHint(dir string) string {
	for at := filepath.Dir(dir); ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			below, _ := filepath.Rel(at, dir)
			return fmt.Sprintf(": it is in the repository %s, so name that, with --path %s", at, below)
		}
		if at == filepath.Dir(at) {
			return ""
		}
	}
}

// files returns the files of the repository.
func (d gitDir) files() *dotgit.RepositoryFilesystem {
	return dotgit.NewRepositoryFilesystem(osfs.New(d.path), osfs.New(d.common))
}

// maxGitConfig bounds the configuration of a repository, in bytes.
const maxGitConfig = 1 << 20

// format returns the configuration of the repository that says how it is stored, by lower-case
// key, with core.repositoryformatversion as "version". git reads the file config alone for it,
// without those that it includes.
func (d gitDir) format() (map[string]string, error) {
	name := filepath.Join(d.common, "config")
	text, err := openfile.Read(name, maxGitConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	parsed := gitconfig.New()
	if err := gitconfig.NewDecoder(bytes.NewReader(text)).Decode(parsed); err != nil {
		return nil, fmt.Errorf("cannot parse %s:%w", name, err)
	}
	format := map[string]string{"version": parsed.Section("core").Option("repositoryformatversion")}
	for _, o := range parsed.Section("extensions").Options {
		format[strings.ToLower(o.Key)] = o.Value
	}
	return format, nil
}

// checkFormat returns an error if the repository is stored in a way that nfsync cannot read.
// The extensions are those of Documentation/technical/repository-version in git, and of
// git-config(1).
func (d gitDir) checkFormat() error {
	format, err := d.format()
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(format)) {
		if why := unreadable(key, strings.ToLower(format[key])); why != "" {
			return errors.New(why)
		}
	}
	return nil
}

// unreadable returns why a repository with this key in its format cannot be read, or "".
func unreadable(key, value string) string {
	switch key {
	case "version":
		if value != "" && value != "0" && value != "1" {
			return fmt.Sprintf("its core.repositoryformatversion %s is newer than git's 1, which nfsync reads: name a clone made by git clone", value)
		}
	case "noop", "noop-v1", "preciousobjects", "partialclone", "worktreeconfig", "relativeworktrees":
		// They change nothing for a reader. What a partial clone lacks is an error of its own.
	case "objectformat":
		if value != "sha1" {
			return fmt.Sprintf(otherFormat, value)
		}
	case "refstorage":
		if value != "files" {
			return fmt.Sprintf("its references are stored as %s: nfsync reads them as files. Convert them with git refs migrate --ref-format=files, name a clone made by git clone --ref-format=files, or have it served over https or ssh", value)
		}
	default:
		return fmt.Sprintf("it uses git's extension extensions.%s, which nfsync does not read: name a clone without it, or have it served over https or ssh", key)
	}
	return ""
}

// otherFormat is the error for a repository with hashes of another format.
const otherFormat = "its object format is %s, and nfsync reads sha1: keep the policies in a repository made by git init --object-format=sha1, or check them out and plan the directory: nfsync plan DIR"

// Worktree returns the root of the working tree that a path is in, and the path within it.
func Worktree(path string) (root, within string, err error) {
	path, err = filepath.Abs(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return "", "", err
	}
	for root = path; ; root = filepath.Dir(root) {
		if _, err := os.Lstat(filepath.Join(root, ".git")); err == nil {
			within, err = filepath.Rel(root, path)
			return root, filepath.ToSlash(within), err
		}
		if root == filepath.Dir(root) {
			return "", "", fmt.Errorf("%s is not in a git repository", path)
		}
	}
}
