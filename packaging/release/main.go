// Command release makes the files of a release of nfsync (make release): for each program and each
// architecture an archive, a package for dpkg, one for rpm and an SBOM, and the checksums of all.
//
// Nothing in them depends on the machine, the directory, the user or the time of the build: made again
// from the same commit, with the same Go, they are the same bytes.
//
// usage, in the root of the repository: release -version VERSION -nfpm PROGRAM [-out DIR] [-arch LIST]
package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// architectures are those that a release is made for, as Go names them. The programs of one must run on
// this machine: they print what shells and man read.
var architectures = []string{"amd64", "arm64"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := release{}
	flag.StringVar(&r.version, "version", "", "version of the programs, as git describe prints it")
	flag.StringVar(&r.nfpm, "nfpm", "", "the program nfpm, which makes packages")
	flag.StringVar(&r.out, "out", "dist", "directory to make, with the files of the release")
	flag.StringVar(&r.archs, "arch", strings.Join(architectures, ","), "architectures")
	flag.Parse()
	if err := r.make(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cannot make the release:", err)
		os.Exit(1)
	}
}

// release is one release.
type release struct {
	version string // of the programs
	nfpm    string
	out     string
	archs   string // with commas

	packages string    // the version of packages
	commit   time.Time // of the commit; the time of every file
	work     string    // directory of what is not part of the release
}

// make makes all files.
func (r *release) make(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "nfsync-release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	r.work = work
	archs := strings.Split(r.archs, ",")
	if !slices.Contains(archs, runtime.GOARCH) {
		return fmt.Errorf("%s is not among the architectures %s: its program is needed here", runtime.GOARCH, r.archs)
	}
	for _, p := range products {
		for _, arch := range archs {
			if err := build(ctx, p, r.version, arch, r.binary(p, arch)); err != nil {
				return err
			}
		}
	}
	for _, p := range products {
		for _, arch := range archs {
			if err := r.makeFor(ctx, p, arch); err != nil {
				return fmt.Errorf("%s for %s: %w", p.name, arch, err)
			}
		}
	}
	return writeSums(r.out)
}

// begin reads the facts of the commit, and makes the directory of the release.
func (r *release) begin(ctx context.Context) error {
	seconds, err := output(ctx, "git", "log", "-1", "--format=%ct")
	if err != nil {
		return err
	}
	unix, err := strconv.ParseInt(strings.TrimSpace(seconds), 10, 64)
	if err != nil {
		return err
	}
	r.commit = time.Unix(unix, 0).UTC()
	if r.packages, err = packageVersion(r.version, r.commit); err != nil {
		return err
	}
	if r.out, err = filepath.Abs(r.out); err != nil {
		return err
	}
	if r.nfpm, err = filepath.Abs(r.nfpm); err != nil {
		return err
	}
	entries, err := os.ReadDir(r.out)
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: remove it first", r.out)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.MkdirAll(r.out, 0o755)
}

// makeFor makes the files of one program for one architecture.
func (r *release) makeFor(ctx context.Context, p product, arch string) error {
	deps, err := dependencies(ctx, p, arch, r.binary(p, arch))
	if err != nil {
		return err
	}
	name := p.name + "_" + r.packages + "_linux_" + arch
	bill, err := sbom(name, p, r.version, r.binary(p, arch), deps, r.commit)
	if err != nil {
		return err
	}
	t := tree{dir: filepath.Join(r.work, p.name, arch), time: r.commit}
	if err := r.fill(ctx, &t, p, arch, bill, deps); err != nil {
		return err
	}
	if err := writeTarball(filepath.Join(r.out, name+".tar.gz"), name, filepath.Join(t.dir, "files"), r.commit); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.out, name+".spdx.json"), bill, 0o644); err != nil {
		return err
	}
	for _, packager := range []string{"deb", "rpm"} {
		if err := r.pack(ctx, p, packager, arch, t.dir); err != nil {
			return err
		}
	}
	return nil
}

// pack makes a package of a tree.
func (r *release) pack(ctx context.Context, p product, packager, arch, dir string) error {
	config, err := filepath.Abs(p.nfpm)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, r.nfpm, "package", "--config", config, "--packager", packager, "--target", r.out+"/")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ARCH="+arch, "VERSION="+r.packages, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.commit.Unix()), "TZ=UTC")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	return nil
}

// binary returns where a program is built for an architecture.
func (r *release) binary(p product, arch string) string {
	return filepath.Join(r.work, p.name+"-"+arch)
}

// native returns the program as it runs on this machine.
func (r *release) native(p product) string { return r.binary(p, runtime.GOARCH) }

// build builds a program. What a user may have set for other builds does not count.
func build(ctx context.Context, p product, version, arch, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=true", "-ldflags", "-s -w -X main.version="+version, "-o", to, p.source())
	cmd.Env = buildEnv(arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	info, err := buildinfo.ReadFile(to)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "vcs.revision" }) {
		return errors.New("go does not write the commit into the program: make the release in a clone, which a worktree of git is not")
	}
	return nil
}

// buildEnv returns the environment of a build.
func buildEnv(arch string) []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GOFIPS140=off")
}

// output returns what a program prints.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", cmd, err)
	}
	return string(out), nil
}
