package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// tree is a directory whose files do not depend on who makes them.
type tree struct {
	dir  string
	time time.Time // of each file
}

// add writes a file of the tree.
func (t *tree) add(name string, mode os.FileMode, data []byte) error {
	file := filepath.Join(t.dir, name)
	for dir := filepath.Dir(file); len(dir) >= len(t.dir); dir = filepath.Dir(dir) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask
			return err
		}
	}
	if err := os.WriteFile(file, data, mode); err != nil {
		return err
	}
	if err := os.Chmod(file, mode); err != nil {
		return err
	}
	return os.Chtimes(file, t.time, t.time)
}

// copy adds a file of the repository.
func (t *tree) copy(from, to string, mode os.FileMode) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return t.add(to, mode, data)
}

// copyTracked adds the files of the repository that git knows below a directory, without Go's.
func (t *tree) copyTracked(ctx context.Context, from, to string) error {
	list, err := output(ctx, "git", "ls-files", "-z", from)
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(list, "\x00"), "\x00") {
		if name == "" || filepath.Ext(name) == ".go" {
			continue
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		mode, err := trackedMode(name)
		if err != nil {
			return err
		}
		if err := t.copy(name, filepath.Join(to, rel), mode); err != nil {
			return err
		}
	}
	return nil
}

// trackedMode returns the mode that a package gives to a file: the only thing that git knows of it is
// whether it can be executed.
func trackedMode(name string) (os.FileMode, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	if info.Mode()&0o100 != 0 {
		return 0o755, nil
	}
	return 0o644, nil
}

// fill makes the tree of a program for an architecture. In files is what the archive has, in package
// what only packages have.
func (r *release) fill(ctx context.Context, t *tree, p product, arch string, bill []byte, deps []dependency) error {
	if err := t.copy(r.binary(p, arch), "files/"+p.name, 0o755); err != nil {
		return err
	}
	for from, to := range p.files {
		if err := t.copy(from, filepath.Join(to, filepath.Base(from)), 0o644); err != nil {
			return err
		}
	}
	for from, to := range p.trees {
		if err := t.copyTracked(ctx, from, to); err != nil {
			return err
		}
	}
	if err := t.add("files/"+p.name+".spdx.json", 0o644, bill); err != nil {
		return err
	}
	if err := t.add("files/THIRD-PARTY-LICENSES", 0o644, licenceTexts(p, deps)); err != nil {
		return err
	}
	if err := r.addCompletions(ctx, t, p); err != nil {
		return err
	}
	if err := r.addManual(ctx, t, p); err != nil {
		return err
	}
	return r.addChangelogs(t, p)
}

// addCompletions adds the scripts with which shells complete the commands of a program.
func (r *release) addCompletions(ctx context.Context, t *tree, p product) error {
	for shell, name := range map[string]string{"bash": p.name + ".bash", "zsh": "_" + p.name, "fish": p.name + ".fish"} {
		script, err := output(ctx, r.native(p), "completion", shell)
		if err != nil {
			return err
		}
		if err := t.add("files/completions/"+name, 0o644, []byte(script)); err != nil {
			return err
		}
	}
	return nil
}

// addChangelogs adds the changelogs that Debian's policy wants in each package.
func (r *release) addChangelogs(t *tree, p product) error {
	changes, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		return err
	}
	debian := fmt.Sprintf("%s (%s-1) unstable; urgency=medium\n\n  * The changes are in changelog.gz.\n\n -- %s  %s\n", p.name, r.packages, maintainer, r.commit.Format(time.RFC1123Z))
	for name, text := range map[string][]byte{"changelog.gz": changes, "changelog.Debian.gz": []byte(debian)} {
		data, err := compress(text)
		if err != nil {
			return err
		}
		if err := t.add("package/"+name, 0o644, data); err != nil {
			return err
		}
	}
	return nil
}

// maintainer is whom packages name, as the files of nfpm do.
const maintainer = "nfsync maintainers <maintainers@nfsync.dev>"

// compress returns a text as gzip -9n writes it: without a name and a time.
func compress(text []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// addManual adds the pages of a program's manual.
func (r *release) addManual(ctx context.Context, t *tree, p product) error {
	within := filepath.Join(r.work, "pages", p.name)
	dir := filepath.Join(within, "man")
	cmd := exec.CommandContext(ctx, r.native(p), "man", dir)
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.commit.Unix()))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "man*", "*"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		data, err := compress(text)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(within, page)
		if err != nil {
			return err
		}
		if err := t.add(filepath.Join("files", rel+".gz"), 0o644, data); err != nil {
			return err
		}
	}
	return nil
}
