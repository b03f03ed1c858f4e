//go:build packages

// Package packaging_test makes releases of these sources, installs them on nodes with a real systemd, and
// follows docs/guide.md there. `make test-packages` runs it.
package packaging_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdxlib"
)

// The versions that the tests build. The second one is a fake of the next release, for upgrades.
const (
	first  = "v0.1.0"
	second = "v0.2.0"
)

// built is what the tests of this package share: releases of these sources, made once.
type built struct {
	repository string // a clone with these sources as its only commit, tagged as the first version
	first      string // directory of the first release
	again      string // the same, made in another directory by a user with other settings
	second     string // for this machine only
}

var scratch string // of the package

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "nfsync-packaging-")
	if err != nil {
		panic(err)
	}
	scratch = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// releases returns the releases.
func releases(t *testing.T) built {
	t.Helper()
	b, err := buildReleases()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var buildReleases = sync.OnceValues(func() (built, error) {
	b := built{repository: filepath.Join(scratch, "one/nfsync"), first: filepath.Join(scratch, "first"), again: filepath.Join(scratch, "again"), second: filepath.Join(scratch, "second")}
	other := filepath.Join(scratch, "another place/src")
	tool := filepath.Join(scratch, "release")
	if err := run("..", nil, "go", "build", "-o", tool, "./packaging/release"); err != nil {
		return b, err
	}
	out, err := exec.Command("../scripts/nfpm.sh").Output()
	if err != nil {
		return b, fmt.Errorf("scripts/nfpm.sh: %w", err)
	}
	nfpm := strings.TrimSpace(string(out))
	for _, dir := range []string{b.repository, other} {
		if err := cloneSources(dir); err != nil {
			return b, err
		}
	}
	settings := []string{"TZ=Asia/Kathmandu", "LC_ALL=tr_TR.UTF-8", "GOAMD64=v3", "GOFLAGS=-buildvcs=false -mod=mod", "SOURCE_DATE_EPOCH=1", "USER=somebody"}
	var failed [3]error
	var all sync.WaitGroup
	all.Go(func() { failed[0] = run(b.repository, nil, tool, "-version", first, "-nfpm", nfpm, "-out", b.first) })
	all.Go(func() {
		failed[1] = run(other, settings, "sh", "-c", `umask 077; exec "$@"`, "sh", tool, "-version", first, "-nfpm", nfpm, "-out", b.again)
	})
	all.Go(func() {
		failed[2] = run(b.repository, nil, tool, "-version", second, "-nfpm", nfpm, "-out", b.second, "-arch", hostArch(tool))
	})
	all.Wait()
	return b, errors.Join(failed[:]...)
})

// hostArch returns the architecture of a program.
func hostArch(program string) string {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "GOARCH" {
			return s.Value
		}
	}
	return ""
}

// run runs a program in a directory, with more in its environment.
func run(dir string, env []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	return nil
}

// cloneSources makes a repository of the sources as they are now, committed or not: one commit, always
// the same, with the tag of the first version.
func cloneSources(dir string) error {
	list, err := exec.Command("git", "-C", "..", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		if err := copyFile(filepath.Join("..", name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	git := func(args ...string) error {
		return run(dir, []string{"GIT_AUTHOR_DATE=1767323045 +0000", "GIT_COMMITTER_DATE=1767323045 +0000", "GIT_CONFIG_GLOBAL=/dev/null"},
			"git", append([]string{"-c", "user.name=test", "-c", "user.email=test@nfsync.invalid"}, args...)...)
	}
	return errors.Join(git("init", "-q"), git("add", "-A"), git("commit", "-q", "-m", "sources"), git("tag", first))
}

// copyFile copies a file, if it still exists, and whether it can be executed.
func copyFile(from, to string) error {
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, fmt.Errorf("%s is not a regular file", from))
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, info.Mode().Perm())
}

// names lists the files of a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// TestReleaseFiles: a release has these files, and their checksums are right.
func TestReleaseFiles(t *testing.T) {
	b := releases(t)
	want := []string{
		"SHA256SUMS",
		"nfsync-0.1.0-1.aarch64.rpm", "nfsync-0.1.0-1.x86_64.rpm",
		"nfsync-coordinator-0.1.0-1.aarch64.rpm", "nfsync-coordinator-0.1.0-1.x86_64.rpm",
		"nfsync-coordinator_0.1.0-1_amd64.deb", "nfsync-coordinator_0.1.0-1_arm64.deb",
		"nfsync-coordinator_0.1.0_linux_amd64.spdx.json", "nfsync-coordinator_0.1.0_linux_amd64.tar.gz",
		"nfsync-coordinator_0.1.0_linux_arm64.spdx.json", "nfsync-coordinator_0.1.0_linux_arm64.tar.gz",
		"nfsync_0.1.0-1_amd64.deb", "nfsync_0.1.0-1_arm64.deb",
		"nfsync_0.1.0_linux_amd64.spdx.json", "nfsync_0.1.0_linux_amd64.tar.gz",
		"nfsync_0.1.0_linux_arm64.spdx.json", "nfsync_0.1.0_linux_arm64.tar.gz",
	}
	if got := names(t, b.first); !slices.Equal(got, want) {
		t.Errorf("the release has %q, want %q", got, want)
	}
	sums, err := os.ReadFile(filepath.Join(b.first, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(sums, []byte("\n")); n != len(want)-1 {
		t.Errorf("SHA256SUMS has %d lines for %d files", n, len(want)-1)
	}
	if err := run(b.first, nil, "sha256sum", "--check", "--strict", "SHA256SUMS"); err != nil {
		t.Error(err)
	}
}

// TestReproducible: made again in another directory, with another umask, time zone, locale and
// settings of Go, a release has the same bytes.
func TestReproducible(t *testing.T) {
	b := releases(t)
	files := names(t, b.first)
	if again := names(t, b.again); !slices.Equal(files, again) {
		t.Fatalf("the second build has %q, the first one %q", again, files)
	}
	for _, name := range files {
		one, err1 := os.ReadFile(filepath.Join(b.first, name))
		two, err2 := os.ReadFile(filepath.Join(b.again, name))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, two) {
			t.Errorf("%s differs between two builds", name)
		}
	}
}

// programs are those of a release.
var programs = []string{"nfsync", "nfsync-coordinator"}

// unpacked returns the directory that an archive of the first release unpacks to.
func unpacked(t *testing.T, program, arch string) string {
	t.Helper()
	name := program + "_0.1.0_linux_" + arch
	dir := t.TempDir()
	if err := run(dir, nil, "tar", "xzf", filepath.Join(releases(t).first, name+".tar.gz")); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// archived are files that the archives have, with their modes.
var archived = map[string]map[string]int64{
	"nfsync": {
		"nfsync": 0o755, "LICENSE": 0o644, "README.md": 0o644, "CHANGELOG.md": 0o644, "THIRD-PARTY-LICENSES": 0o644, "nfsync.spdx.json": 0o644,
		"man/man1/nfsync.1.gz": 0o644, "completions/nfsync.bash": 0o644, "completions/_nfsync": 0o644, "completions/nfsync.fish": 0o644,
		"systemd/nfsync.service": 0o644, "systemd/nfsync-boot.service": 0o644, "systemd/nfsync-generator": 0o755, "docs/agent.md": 0o644, "examples/agent.yaml": 0o644,
		"schemas/plan.schema.json": 0o644, "prometheus/nfsync.rules.yml": 0o644, "hooks/podman.json": 0o644, "hooks/nfsync-runc": 0o755, "grafana/nfsync.json": 0o644,
	},
	"nfsync-coordinator": {
		"nfsync-coordinator": 0o755, "LICENSE": 0o644, "README.md": 0o644, "CHANGELOG.md": 0o644, "THIRD-PARTY-LICENSES": 0o644, "nfsync-coordinator.spdx.json": 0o644,
		"man/man8/nfsync-coordinator.8.gz": 0o644, "man/man8/nfsync-coordinator-enroll.8.gz": 0o644, "man/man5/nfsync-coordinator.yaml.5.gz": 0o644,
		"completions/nfsync-coordinator.bash": 0o644, "completions/_nfsync-coordinator": 0o644, "completions/nfsync-coordinator.fish": 0o644,
		"systemd/nfsync-coordinator.service": 0o644, "sysusers/nfsync-coordinator.conf": 0o644, "config/coordinator.yaml": 0o644, "examples/coordinator.yaml": 0o644,
		"docs/coordinator.md": 0o644, "schemas/coordinatorconfig.schema.json": 0o644,
	},
}

// TestArchive: an archive has what docs/install.md says, in one directory, and all of it is root's.
func TestArchive(t *testing.T) {
	for _, program := range programs {
		modes := archiveModes(t, program)
		for name, mode := range archived[program] {
			if modes[name] != mode {
				t.Errorf("%s: %s has the mode %o, want %o", program, name, modes[name], mode)
			}
		}
	}
}

// archiveModes returns the modes of the files in an archive, by their names below its directory.
func archiveModes(t *testing.T, program string) map[string]int64 {
	t.Helper()
	dir := program + "_0.1.0_linux_amd64"
	f, err := os.Open(filepath.Join(releases(t).first, dir+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]int64{}
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return modes
		}
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := strings.CutPrefix(h.Name, dir+"/")
		if !ok || h.Uid != 0 || h.Gid != 0 || h.Mode&0o7022 != 0 || h.ModTime.Unix() != 1767323045 {
			t.Errorf("%s: owner %d:%d, mode %o, time %s", h.Name, h.Uid, h.Gid, h.Mode, h.ModTime)
		}
		if strings.HasSuffix(rest, ".go") {
			t.Errorf("%s is in the archive", rest)
		}
		modes[rest] = h.Mode
	}
}

// TestPrograms: the programs are static, for their architecture, and say the version and the commit
// that they were built from. The one for arm64 runs in qemu.
func TestPrograms(t *testing.T) {
	for _, name := range programs {
		for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
			checkProgram(t, filepath.Join(unpacked(t, name, arch), name), arch, machine)
		}
	}
}

// checkProgram holds a program against its architecture and its version.
func checkProgram(t *testing.T, program, arch string, machine elf.Machine) {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Machine != machine {
		t.Errorf("%s: the program is for %s", arch, f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s: the program is not static: %s", arch, p.Type)
		}
	}
	command := []string{program, "version"}
	if arch != hostArch(filepath.Join(scratch, "release")) {
		command = append([]string{map[string]string{"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}[arch]}, command...)
	}
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	commit, errCommit := exec.Command("git", "-C", releases(t).repository, "rev-parse", "HEAD").Output()
	if err := errors.Join(err, errCommit); err != nil {
		t.Fatalf("%q: %v: %s", command, err, out)
	}
	if !strings.HasPrefix(string(out), "nfsync "+first+" ") || !strings.Contains(string(out), "linux/"+arch) || !strings.Contains(string(out), string(commit[:12])) {
		t.Errorf("%q prints %q", command, out)
	}
}

// TestSBOM: the SBOM is valid SPDX 2.3, and names each module that the program says it contains, with
// its sum and a licence.
func TestSBOM(t *testing.T) {
	for _, program := range programs {
		for _, arch := range []string{"amd64", "arm64"} {
			checkSBOM(t, program, arch)
		}
	}
}

// checkSBOM holds the SBOM of a program against the program.
func checkSBOM(t *testing.T, program, arch string) {
	t.Helper()
	dir := unpacked(t, program, arch)
	text, err := os.ReadFile(filepath.Join(dir, program+".spdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	beside, err := os.ReadFile(filepath.Join(releases(t).first, program+"_0.1.0_linux_"+arch+".spdx.json"))
	if err != nil || !bytes.Equal(text, beside) {
		t.Errorf("%s: the SBOM beside the archive is not the one in it: %v", arch, err)
	}
	doc, err := spdxjson.Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := spdxlib.ValidateDocument(doc); err != nil {
		t.Error(err)
	}
	if doc.SPDXVersion != "SPDX-2.3" || doc.CreationInfo.Created != "2026-01-02T03:04:05Z" {
		t.Errorf("%s, created at %s", doc.SPDXVersion, doc.CreationInfo.Created)
	}
	if doc.Packages[0].PackageFileName != program {
		t.Errorf("it is the SBOM of %s, want %s", doc.Packages[0].PackageFileName, program)
	}
	checkModules(t, filepath.Join(dir, program), text)
}

// checkModules holds the packages of an SBOM against what a program says.
func checkModules(t *testing.T, program string, text []byte) {
	t.Helper()
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Packages []struct {
			Name, VersionInfo, LicenseDeclared string
			Checksums                          []struct{ ChecksumValue string }
			ExternalRefs                       []struct{ ReferenceLocator string }
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range doc.Packages {
		line := p.VersionInfo + " " + p.ExternalRefs[0].ReferenceLocator
		if len(p.Checksums) > 0 {
			line += " " + p.Checksums[0].ChecksumValue
		}
		got[p.Name] = line
		if p.LicenseDeclared == "NOASSERTION" || p.LicenseDeclared == "" {
			t.Errorf("the licence of %s is not known", p.Name)
		}
	}
	sum, err := exec.Command("sha256sum", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	goVersion := strings.TrimPrefix(info.GoVersion, "go")
	want := map[string]string{
		"nfsync.dev/nfsync": first + " pkg:golang/nfsync.dev/nfsync@" + first + " " + string(sum[:64]),
		"std":               goVersion + " pkg:golang/std@" + goVersion,
	}
	for _, m := range info.Deps {
		h1, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
		if err != nil {
			t.Fatal(err)
		}
		want[m.Path] = m.Version + " pkg:golang/" + strings.ToLower(m.Path) + "@" + m.Version + " " + hex.EncodeToString(h1)
	}
	for name, line := range want {
		if got[name] != line {
			t.Errorf("%s is %q, want %q", name, got[name], line)
		}
	}
	if len(got) != len(want) {
		t.Errorf("the SBOM has %d packages, the program %d", len(got), len(want))
	}
}

// TestBuildWithoutMake: a program that go install builds says the tag, or that the sources have
// changed, and one that was built without git says that it does not know.
func TestBuildWithoutMake(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "clone")
	if err := run(".", nil, "git", "clone", "-q", releases(t).repository, dir); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	version := func(flags string) string {
		t.Helper()
		if err := run(dir, []string{"CGO_ENABLED=0", "GOBIN=" + bin, "GOFLAGS=-trimpath -ldflags=-w " + flags}, "go", "install", "./cmd/nfsync"); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(filepath.Join(bin, "nfsync"), "version").CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if out := version("-buildvcs=true"); !strings.HasPrefix(out, "nfsync "+first+" ") {
		t.Errorf("version prints %q", out)
	}
	if out := version("-buildvcs=false"); !strings.HasPrefix(out, "nfsync devel ") {
		t.Errorf("without git version prints %q", out)
	}
	if err := os.WriteFile(filepath.Join(dir, "README.md"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if out := version("-buildvcs=true"); !strings.HasPrefix(out, "nfsync "+first+"+dirty ") {
		t.Errorf("after a change version prints %q", out)
	}
	if out, err := exec.Command("make", "-C", dir, "-s", "--eval", "print: ; @echo $(VERSION)", "print").CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != first+"-dirty" {
		t.Errorf("make builds %q: %v", out, err)
	}
}
