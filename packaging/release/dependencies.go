package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// dependency is a module that a program contains. The standard library of Go is one too.
type dependency struct {
	path    string // "std" is Go's
	version string // as its module has it: v1.2.3; of Go 1.2.3
	sum     string // as go.sum has it: h1:…; empty for Go
	texts   []licenceText
}

// licenceText is a file with a licence, or with what a licence wants to be shown.
type licenceText struct {
	name string // below the module's directory
	text []byte
}

// licenceName matches the names of files with licences.
var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([-.].*)?$`)

// dependencies returns what a program says that it contains, with its licences: first Go, then the
// modules, sorted.
func dependencies(ctx context.Context, p product, arch, binary string) ([]dependency, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	dirs, err := packageDirs(ctx, p, arch)
	if err != nil {
		return nil, err
	}
	goroot, err := output(ctx, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	root := strings.TrimSpace(goroot)
	dirs["std"] = moduleDirs{root: root, packages: []string{root}}

	deps := []dependency{{path: "std", version: strings.TrimPrefix(info.GoVersion, "go")}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		deps = append(deps, dependency{path: m.Path, version: m.Version, sum: m.Sum})
	}
	for i, d := range deps {
		if deps[i].texts, err = licences(dirs[d.path]); err != nil {
			return nil, fmt.Errorf("%s: %w", d.path, err)
		}
	}
	return deps, nil
}

// moduleDirs are the directories of a module that a program uses.
type moduleDirs struct {
	root     string
	packages []string
}

// packageDirs returns the directories of the packages that a program is built from, by their modules.
func packageDirs(ctx context.Context, program product, arch string) (map[string]moduleDirs, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Dir,Module", program.source())
	cmd.Env = buildEnv(arch)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cmd, err)
	}
	dirs := map[string]moduleDirs{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir    string
			Module *struct{ Path, Dir string }
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return dirs, nil
		} else if err != nil {
			return nil, err
		}
		if p.Module != nil {
			m := dirs[p.Module.Path]
			dirs[p.Module.Path] = moduleDirs{p.Module.Dir, append(m.packages, p.Dir)}
		}
	}
}

// licences returns the licences of the packages of a module: a package may have one of its own, beside
// that of the module.
func licences(m moduleDirs) ([]licenceText, error) {
	var texts []licenceText
	seen := map[string]bool{}
	for _, dir := range m.packages {
		for ; !seen[dir] && strings.HasPrefix(dir, m.root); dir = filepath.Dir(dir) {
			seen[dir] = true
			found, err := licencesIn(m.root, dir)
			if err != nil {
				return nil, err
			}
			texts = append(texts, found...)
		}
	}
	if len(texts) == 0 {
		return nil, errors.New("it has no licence")
	}
	slices.SortFunc(texts, func(a, b licenceText) int { return strings.Compare(a.name, b.name) })
	return texts, nil
}

// licencesIn returns the licences in one directory.
func licencesIn(root, dir string) ([]licenceText, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var texts []licenceText
	for _, e := range entries {
		if !e.Type().IsRegular() || !licenceName.MatchString(e.Name()) {
			continue
		}
		file := filepath.Join(dir, e.Name())
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return nil, err
		}
		texts = append(texts, licenceText{filepath.ToSlash(rel), text})
	}
	return texts, nil
}

// licence returns the licences of a module as SPDX writes them, or NOASSERTION where they are not
// known.
func (d dependency) licence() string {
	var found []string
	for _, t := range d.texts {
		base := strings.ToLower(filepath.Base(t.name))
		if strings.HasPrefix(base, "notice") || strings.HasPrefix(base, "patents") {
			continue
		}
		for _, m := range licensecheck.Scan(t.text).Match {
			if !m.IsURL && !slices.Contains(found, m.ID) {
				found = append(found, m.ID)
			}
		}
	}
	if len(found) == 0 {
		return noAssertion
	}
	slices.Sort(found)
	return strings.Join(found, " AND ")
}

// licenceTexts returns the licences of all dependencies of a program as one text: they want to be
// where the program is.
func licenceTexts(p product, deps []dependency) []byte {
	var b bytes.Buffer
	b.WriteString(p.name + " is one program with these modules in it. Each has its own licence.\n")
	for _, d := range deps {
		for _, t := range d.texts {
			fmt.Fprintf(&b, "\n%s\n%s %s: %s\n\n%s\n", strings.Repeat("=", 80), d.path, d.version, t.name, bytes.TrimSpace(t.text))
		}
	}
	return b.Bytes()
}
