//go:build packages

package packaging_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rpmPackage returns an rpm of the first release.
func rpmPackage(t *testing.T, program, arch string) string {
	return filepath.Join(releases(t).first, program+"-0.1.0-1."+arch+".rpm")
}

// contents lists the files of a package as "mode owner:group name", without those below a directory of
// documents.
func contents(t *testing.T, command ...string) []string {
	t.Helper()
	out, err := exec.Command(command[0], command[1:]...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// debLine is a line of dpkg-deb --contents.
var debLine = regexp.MustCompile(`^(\S{10}) (\w+)/(\w+) .* \./(\S*)$`)

// installed are files that both packages of a program have, with their modes.
var installed = map[string]map[string]string{
	"nfsync": {
		"/usr/bin/nfsync":                                          "-rwxr-xr-x",
		"/usr/lib/systemd/system/nfsync.service":                   "-rw-r--r--",
		"/usr/lib/systemd/system/nfsync-boot.service":              "-rw-r--r--",
		"/usr/lib/systemd/system-generators/nfsync-generator":      "-rwxr-xr-x",
		"/usr/lib/nfsync/systemd/sandbox.conf":                     "-rw-r--r--",
		"/usr/share/man/man1/nfsync.1.gz":                          "-rw-r--r--",
		"/usr/share/man/man5/nfsync-agent.yaml.5.gz":               "-rw-r--r--",
		"/usr/share/man/man7/nfsync-words.7.gz":                    "-rw-r--r--",
		"/usr/share/bash-completion/completions/nfsync":            "-rw-r--r--",
		"/usr/share/fish/vendor_completions.d/nfsync.fish":         "-rw-r--r--",
		"/usr/share/doc/nfsync/copyright":                          "-rw-r--r--",
		"/usr/share/doc/nfsync/changelog.gz":                       "-rw-r--r--",
		"/usr/share/doc/nfsync/THIRD-PARTY-LICENSES":               "-rw-r--r--",
		"/usr/share/doc/nfsync/nfsync.spdx.json":                   "-rw-r--r--",
		"/usr/share/doc/nfsync/docs/agent.md":                      "-rw-r--r--",
		"/usr/share/doc/nfsync/examples/agent.yaml":                "-rw-r--r--",
		"/usr/share/doc/nfsync/examples/repository/.gitlab-ci.yml": "-rw-r--r--",
		"/usr/share/nfsync/schemas/plan.schema.json":               "-rw-r--r--",
		"/usr/share/nfsync/hooks/podman.json":                      "-rw-r--r--",
		"/usr/share/nfsync/hooks/nfsync-runc":                      "-rwxr-xr-x",
		"/usr/share/nfsync/prometheus/nfsync.rules.yml":            "-rw-r--r--",
		"/usr/share/nfsync/grafana/nfsync.json":                    "-rw-r--r--",
		"/etc/nfsync":                                              "drwxr-xr-x",
		"/var/lib/nfsync":                                          "drwx------",
	},
	"nfsync-coordinator": {
		"/usr/bin/nfsync-coordinator":                                         "-rwxr-xr-x",
		"/usr/lib/systemd/system/nfsync-coordinator.service":                  "-rw-r--r--",
		"/usr/lib/sysusers.d/nfsync-coordinator.conf":                         "-rw-r--r--",
		"/usr/share/man/man8/nfsync-coordinator.8.gz":                         "-rw-r--r--",
		"/usr/share/man/man8/nfsync-coordinator-serve.8.gz":                   "-rw-r--r--",
		"/usr/share/man/man5/nfsync-coordinator.yaml.5.gz":                    "-rw-r--r--",
		"/usr/share/bash-completion/completions/nfsync-coordinator":           "-rw-r--r--",
		"/usr/share/fish/vendor_completions.d/nfsync-coordinator.fish":        "-rw-r--r--",
		"/usr/share/doc/nfsync-coordinator/copyright":                         "-rw-r--r--",
		"/usr/share/doc/nfsync-coordinator/changelog.gz":                      "-rw-r--r--",
		"/usr/share/doc/nfsync-coordinator/THIRD-PARTY-LICENSES":              "-rw-r--r--",
		"/usr/share/doc/nfsync-coordinator/nfsync-coordinator.spdx.json":      "-rw-r--r--",
		"/usr/share/doc/nfsync-coordinator/docs/coordinator.md":               "-rw-r--r--",
		"/usr/share/doc/nfsync-coordinator/examples/coordinator.yaml":         "-rw-r--r--",
		"/usr/share/nfsync-coordinator/schemas/coordinatorconfig.schema.json": "-rw-r--r--",
		"/etc/nfsync-coordinator":                                             "drwxr-xr-x",
		"/etc/nfsync-coordinator/coordinator.yaml":                            "-rw-r--r--",
	},
}

// TestContents: the packages of each program and architecture have what docs/install.md says, owned by root, and nothing
// that another user could change. Two programs share no file, since one is removed without the other.
func TestContents(t *testing.T) {
	for arch, rpm := range map[string]string{"amd64": "x86_64", "arm64": "aarch64"} {
		of := map[string]string{} // the program of each file
		for _, program := range programs {
			deb := debModes(t, program, arch)
			checkContents(t, program, "deb "+arch, deb, "/usr/share/zsh/vendor-completions/_"+program, "/usr/share/doc/"+program+"/changelog.Debian.gz")
			for name, mode := range deb {
				if other := of[name]; other != "" && mode[0] != 'd' {
					t.Errorf("%s is in %s and in %s", name, other, program)
				}
				of[name] = program
			}
			list := rpmModes(t, program, rpm)
			checkContents(t, program, "rpm "+rpm, list, "/usr/share/zsh/site-functions/_"+program, "/usr/share/licenses/"+program+"/LICENSE")
			for _, dir := range []string{"/usr/bin", "/etc", "/var/lib", "/usr/lib/systemd/system"} {
				if list[dir] != "" {
					t.Errorf("the rpm owns %s, which is the distribution's", dir)
				}
			}
		}
	}
}

// debModes returns the modes of the files in a deb.
func debModes(t *testing.T, program, arch string) map[string]string {
	t.Helper()
	modes := map[string]string{}
	for _, line := range contents(t, "dpkg-deb", "--contents", filepath.Join(releases(t).first, program+"_0.1.0-1_"+arch+".deb")) {
		m := debLine.FindStringSubmatch(line)
		if m == nil || m[2] != "root" || m[3] != "root" {
			t.Errorf("deb: %s", line)
			continue
		}
		modes["/"+strings.TrimSuffix(m[4], "/")] = m[1]
	}
	return modes
}

// rpmModes returns the modes of the files in an rpm.
func rpmModes(t *testing.T, program, arch string) map[string]string {
	t.Helper()
	modes := map[string]string{}
	for _, line := range contents(t, "rpm", "-qp", "--qf", `[%{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES}\n]`, rpmPackage(t, program, arch)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[1] != "root:root" {
			t.Errorf("rpm: %s", line)
			continue
		}
		modes[f[2]] = f[0]
	}
	return modes
}

// checkContents holds the modes of a package's files against those wanted, and the names of more.
func checkContents(t *testing.T, program, which string, modes map[string]string, more ...string) {
	t.Helper()
	for name, mode := range installed[program] {
		if modes[name] != mode {
			t.Errorf("%s: %s has the mode %q, want %q", which, name, modes[name], mode)
		}
	}
	for _, name := range more {
		if modes[name] != "-rw-r--r--" {
			t.Errorf("%s: %s has the mode %q", which, name, modes[name])
		}
	}
	allowed := []string{"-rw-r--r--", "-rwxr-xr-x", "drwxr-xr-x"}
	for name, mode := range modes {
		if !slices.Contains(allowed, mode) && name != "/var/lib/nfsync" || strings.HasSuffix(name, ".go") {
			t.Errorf("%s: %s has the mode %s", which, name, mode)
		}
	}
}

// rpm installs or removes a package. The database of rpm on a node of Debian is empty: what a package
// requires is not there.
func (n node) rpm(args ...string) string {
	n.t.Helper()
	return n.Must("rpm", append([]string{"--nodeps", "--force-debian"}, args...)...)
}

// TestRPM: the same as TestDeb, by rpm: there is no purge, and what is the administrator's stays.
func TestRPM(t *testing.T) {
	t.Parallel()
	b := releases(t)
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[dpkgArchitecture(t)]
	n := newNode(t)
	old, upgrade := n.put(b.first, "nfsync-0.1.0-1."+arch+".rpm"), n.put(b.second, "nfsync-0.2.0-1."+arch+".rpm")
	before := n.Written()

	n.rpm("-i", old)
	n.works(first)
	n.want("the agent", n.state("nfsync.service"), "^inactive disabled$")
	n.want("what rpm finds changed", n.Must("rpm", "-V", "--nodeps", "nfsync"), "^$")
	n.want("the group", n.Must("getent", "group", "nfsync"), "^nfsync:")

	n.configure()
	n.Must("systemctl", "enable", "--now", "nfsync.service")
	n.want("the value", n.udp(), "^41$")
	pid, _ := n.agent()
	n.rpm("-U", upgrade)
	n.works(second)
	after, version := n.agent()
	n.want("the version of the agent", version, "^nfsync "+second+" ")
	n.want("the agent", n.state("nfsync.service"), "^active enabled$")
	if after == pid {
		t.Error("the agent was not restarted")
	}
	n.want("the configuration", n.Read("/etc/nfsync/agent.yaml"), "^"+regexp.QuoteMeta(config)+"$")

	n.Write("/etc/sysctl.d/90-nfsync.conf", "# a boot file\n", 0o644)
	out := n.rpm("-e", "nfsync")
	n.want("what the removal says", out, "nfsync: kept /etc/sysctl.d/90-nfsync.conf")
	n.want("the agent", n.state("nfsync.service"), "^inactive")
	n.want("the links of enabled units", n.Must("find", "/etc/systemd/system", "-name", "nfsync*"), "^$")
	n.want("the configuration", n.Read("/etc/nfsync/agent.yaml"), "^"+regexp.QuoteMeta(config)+"$")
	n.want("the value", n.udp(), "^41$")

	n.Must("sh", "-euc", documented(t, "The same by hand:", "\n## The coordinator\n"))
	if left := n.left(before); len(left) > 0 {
		t.Errorf("after the removal by hand these files are left: %q", left)
	}
}

// TestShellcheck: shellcheck finds nothing in the scripts of packages.
func TestShellcheck(t *testing.T) {
	for _, pattern := range []string{"deb/*", "rpm/*", "coordinator/deb/*", "coordinator/rpm/*", "systemd/nfsync-generator", "../scripts/*.sh"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %q, %v", pattern, files, err)
		}
		if out, err := exec.Command("shellcheck", files...).CombinedOutput(); err != nil {
			t.Errorf("shellcheck %q: %v\n%s", files, err, out)
		}
	}
}

// TestWithoutSystemd: the scripts of the debs work where no systemd runs and twice, as in an image that
// is being made.
func TestWithoutSystemd(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.Copy("coordinator/sysusers/nfsync-coordinator.conf", "/usr/lib/sysusers.d/nfsync-coordinator.conf", 0o644)
	for _, dir := range []string{"deb", "coordinator/deb"} {
		for _, script := range []string{"postinst", "prerm", "postrm"} {
			n.Copy(filepath.Join(dir, script), filepath.Join("/srv", dir, script), 0o755)
		}
	}
	const scripts = `mount -t tmpfs none /run
groupdel nfsync 2>/dev/null || true
for dir in deb coordinator/deb; do
	for call in 'postinst configure' 'postinst configure' 'postinst configure 0.1.0-1' 'postinst triggered x' 'prerm upgrade 0.2.0-1' 'postrm upgrade 0.2.0-1' \
		'prerm remove' 'prerm remove' 'postrm remove' 'postrm remove' 'postrm purge' 'postrm purge'; do
		sh -eu -c "set -- ${call#* } ''; . /srv/$dir/${call%% *}" || { echo "$dir: $call failed"; exit 1; }
	done
done
getent group nfsync
getent passwd nfsync-coordinator
ls -d /var/lib/nfsync-coordinator || true`
	n.want("what the scripts leave", n.Must("unshare", "-m", "sh", "-euc", scripts), `(?m)^nfsync:.*\nnfsync-coordinator:.*\nls: `)
}
