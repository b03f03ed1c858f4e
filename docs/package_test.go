package docs_test

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"nfsync.dev/nfsync/packaging/systemdtest"
)

// putPackage makes the package of a version, as make release does, and puts it in a directory of a
// node.
func putPackage(t *testing.T, n *systemdtest.Node, version, dir string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "dist")
	nfpm := strings.TrimSpace(atRoot(t, "scripts/nfpm.sh"))
	atRoot(t, "go", "run", "./packaging/release", "-version", "v"+version, "-nfpm", nfpm, "-out", out)
	files, err := filepath.Glob(filepath.Join(out, "*_"+runtime.GOARCH+".deb"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the packages are %v: %v", files, err)
	}
	n.Copy(files[0], filepath.Join(dir, filepath.Base(files[0])), 0o644)
}

// atRoot runs a program at the root of the sources and returns what it prints on standard output.
func atRoot(t *testing.T, name string, args ...string) string {
	t.Helper()
	var failure strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = "..", &failure
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, &failure)
	}
	return string(out)
}
