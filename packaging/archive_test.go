//go:build packages

package packaging_test

import (
	"os"
	"strings"
	"testing"
)

// documented returns the indented lines of docs/install.md between two texts: commands.
func documented(t *testing.T, from, to string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(text), from)
	part, _, ends := strings.Cut(part, to)
	if !found || !ends {
		t.Fatalf("docs/install.md has no %q before %q", from, to)
	}
	var commands strings.Builder
	for line := range strings.Lines(part) {
		if strings.HasPrefix(line, "    ") {
			commands.WriteString(strings.TrimSpace(line) + "\n")
		}
	}
	return commands.String()
}

// TestInstallFromArchive: the commands that docs/install.md has for an archive install nfsync, its
// units, manual and completion, and the coordinator.
func TestInstallFromArchive(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	arch := dpkgArchitecture(t)
	n.put(releases(t).first, "nfsync_0.1.0_linux_"+arch+".tar.gz")
	commands := strings.ReplaceAll(documented(t, "\n## From an archive\n", "\n### The coordinator from an archive\n"), "amd64", arch)
	n.Must("sh", "-euxc", "cd /srv\n"+commands)
	n.want("the version", n.Must("nfsync", "version"), "^nfsync "+first+" ")
	n.want("the manual page", n.Must("man", "-w", "nfsync"), "^/usr/local/(share/)?man/man1/nfsync.1.gz\n$")
	n.want("what bash completes", n.complete("nfsync", "rec"), `(?s)receipts.*recover`)
	n.want("the unit of the boot", n.state("nfsync-boot.service"), "^inactive disabled$")

	n.configure()
	n.Must("systemctl", "enable", "--now", "nfsync.service")
	n.want("the value", n.udp(), "^41$")
	n.want("the drop-ins of the agent", n.Must("systemctl", "show", "-P", "DropInPaths", "nfsync.service"), "sandbox.conf")

	n.put(releases(t).first, "nfsync-coordinator_0.1.0_linux_"+arch+".tar.gz")
	commands = strings.ReplaceAll(documented(t, "\n### The coordinator from an archive\n", "\n## From source\n"), "amd64", arch)
	n.Must("sh", "-euxc", "cd /srv\n"+commands)
	n.configureCoordinator("listen: none\nengine: {listen: \"" + freeAddress(t) + "\"}\n")
	n.Must("systemctl", "enable", "--now", coordinatorUnit)
	n.owned()
}
