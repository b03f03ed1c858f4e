package kernel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

func TestCapabilitiesLegacyTables(t *testing.T) {
	for archive, want := range map[string]bool{
		"none-6.18":      true,  // built in
		"debian-6.12":    false, // there is no such module
		"damaged":        false, // not loaded
		"none-no-config": true,  // /proc/net/ip_tables_names
	} {
		fs, _ := fixture(t, "testdata/modules/"+archive+".txtar")
		m := fs.Modules(nil, false)
		if got := fs.Capabilities(&m).LegacyTables; got != want {
			t.Errorf("%s: %v, want %v", archive, got, want)
		}
	}
}

// Without capabilities nothing is permitted, and the reason is given. A thread
// that drops its capabilities is never used again.
func TestCapabilitiesDenied(t *testing.T) {
	m := live.Modules(nil, false)
	if c := live.Capabilities(&m); c.BucketStep != int64(os.Getpagesize())/8 || c.Latches != nf.No || c.Masks {
		t.Errorf("%+v", c)
	}
	onThread(t, func() {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Errorf("capset: %v", err)
			return
		}
		denied := live.Capabilities(&m).Denied
		for ability, want := range map[string]string{nf.AbilityModules: "CAP_SYS_MODULE", nf.AbilityContainers: "CAP_SYS_ADMIN"} {
			if !strings.Contains(denied[ability], want) {
				t.Errorf("%s: %q, want %s", ability, denied[ability], want)
			}
		}
	})
}

// The sysctls are tried as they are: a file that is not there or is read-only
// for everybody denies.
func TestDeniedSysctls(t *testing.T) {
	fs := FS{Proc: t.TempDir()}
	if why := fs.deniedSysctls(); !strings.Contains(why, "no such file") {
		t.Errorf("without /proc: %q", why)
	}
	writeFile(t, fs.proc("sys/net/core/somaxconn"), []byte("4096\n"))
	if why := fs.deniedSysctls(); why != "" {
		t.Errorf("writable: %q", why)
	}
	if data, _ := readFile(fs.proc("sys/net/core/somaxconn")); string(data) != "4096\n" {
		t.Errorf("the probe changed the file to %q", data)
	}
}

// user_namespaces(7): the initial one maps all ids to themselves.
func TestInitialUserNamespace(t *testing.T) {
	for text, want := range map[string]bool{
		"         0          0 4294967295\n": true,
		"0 100000 65536\n":                   false,
		"0 0 1\n":                            false,
		"0 0 4294967295\n1 1 1\n":            false,
		"":                                   false,
	} {
		fs := FS{Proc: t.TempDir()}
		writeFile(t, fs.proc("self/uid_map"), []byte(text))
		if got := fs.initialUserNamespace(); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
		// The same map in another namespace is another namespace.
		writeFile(t, fs.proc("self/ns/user"), nil)
		if fs.initialUserNamespace() {
			t.Errorf("%q: initial, with another namespace's number", text)
		}
	}
	if !(FS{Proc: t.TempDir()}).initialUserNamespace() {
		t.Error("a kernel without user namespaces has only the initial one")
	}
}

func TestIdentity(t *testing.T) {
	boot, k, name, err := live.Identity()
	if err != nil || len(boot) != 36 || k.Release != live.release() || k.Machine == "" {
		t.Errorf("%q %+v %q %v", boot, k, name, err)
	}
	if host, _ := os.Hostname(); name != host {
		t.Errorf("node name %q, the kernel's is %q", name, host)
	}
	if _, _, _, err := (FS{Proc: filepath.Join(t.TempDir(), "none")}).Identity(); !os.IsNotExist(err) && err == nil {
		t.Errorf("without /proc: %v", err)
	}
}
