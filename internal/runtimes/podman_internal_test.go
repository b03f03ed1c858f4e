package runtimes

import (
	"strings"
	"testing"
	"time"
)

// cgroupsPath is that of opencontainers/runtime-spec, config-linux.md; slices are those of systemd.slice(5).
func TestCgroupPath(t *testing.T) {
	for path, want := range map[string]string{
		"machine.slice:libpod:1f":               "/machine.slice/libpod-1f.scope",
		"machine-libpod_pod_52.slice:libpod:1f": "/machine.slice/machine-libpod_pod_52.slice/libpod-1f.scope",
		"user-a-b.slice:libpod:1f":              "/user.slice/user-a.slice/user-a-b.slice/libpod-1f.scope",
		"/libpod_parent/libpod-1f":              "/libpod_parent/libpod-1f",
		"/libpod_parent/52/libpod-1f":           "/libpod_parent/52/libpod-1f",
		"":                                      "",
		":libpod:1f":                            "/.slice/libpod-1f.scope",
		"system.slice:libpod:1f:more":           "system.slice:libpod:1f:more",
		"system-ü.slice:libpod:1f":              "/system.slice/system-ü.slice/libpod-1f.scope",
	} {
		if got := cgroupPath(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

// The arguments are those of conmon 2.1.6 as podman 4.3.1 starts it.
func TestParseConmon(t *testing.T) {
	for line, want := range map[string]string{
		"/usr/bin/conmon --api-version 1 -c 1f -u 1f -r /usr/bin/runc -n web --exit-dir /run -s": "web",
		"conmon -n web -c 1f":                "web",
		"/usr/bin/conmon -c 2f -u 1f -n web": "",
		"/usr/bin/conmon2 -c 1f -n web":      "",
		"/usr/bin/conmon -c 1f":              "",
		"/usr/bin/conmon -c 1f -n":           "",
		"/usr/bin/conmon -c":                 "",
		"sleep 1000":                         "",
		"":                                   "",
	} {
		if got := parseConmon([]byte(strings.ReplaceAll(line, " ", "\x00")), "1f"); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// The lines are those of proc_pid_status(5).
func TestParseStatusNumber(t *testing.T) {
	const status = "Name:\tconmon\nState:\tS (sleeping)\nPid:\t835\nPPid:\t1\nUid:\t1000\t0\t0\t0\nGroups:\t\n"
	for name, want := range map[string]int{"PPid": 1, "Uid": 1000, "Pid": 835, "Groups": -1, "Name": -1, "Gid": -1} {
		got, ok := parseStatusNumber([]byte(status), name)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%s: %d, %v, want %d", name, got, ok, want)
		}
	}
}

// A bundle of Podman is DIR/DRIVER-containers/ID/userdata.
func TestStorageOf(t *testing.T) {
	for bundle, want := range map[string]string{
		"/var/lib/containers/storage/overlay-containers/1f/userdata": "/var/lib/containers/storage/overlay-containers",
		"/srv/vfs-containers/1f/userdata/":                           "/srv/vfs-containers",
		"/srv/vfs-containers/2f/userdata":                            "",
		"/srv/other/1f/userdata":                                     "",
		"/srv/vfs-containers/1f":                                     "",
		"srv/vfs-containers/1f/userdata":                             "",
		"":                                                           "",
	} {
		if got := storageOf(bundle, "1f"); got != want {
			t.Errorf("%q: %q, want %q", bundle, got, want)
		}
	}
}

// The file is that of containers-storage.conf(5), in TOML.
func TestParseGraphRoot(t *testing.T) {
	for conf, want := range map[string]string{
		"[storage]\ndriver = \"overlay\"\ngraphroot = \"/srv/c\"\n": "/srv/c",
		"  graphroot='/srv/c'":                 "/srv/c",
		"# graphroot = \"/srv/c\"\n":           "",
		"graphroot = \"relative\"\n":           "",
		"graphroot = \"/with\\u0020escape\"\n": "",
		"rootless_storage_path = \"/srv/c\"\n": "",
		"":                                     "",
	} {
		if got, err := parseGraphRoot([]byte(conf)); got != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", conf, got, err, want)
		}
	}
}

// What does not answer holds up nobody, once and again, until it answers.
func TestWithin(t *testing.T) {
	files := &Files{}
	answer := make(chan int)
	slow := func() int { return <-answer }
	if _, err := within(files, "/home/alice", time.Millisecond, slow); err == nil || err.Error() != "/home/alice does not answer" {
		t.Errorf("it answers: %v", err)
	}
	if _, err := within(files, "/home/alice", time.Hour, func() int { t.Error("asked again"); return 0 }); err == nil {
		t.Error("the second one answers")
	}
	if got, err := within(files, "/home/bob", time.Hour, func() int { return 7 }); got != 7 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
	answer <- 1
	for {
		if got, err := within(files, "/home/alice", time.Hour, func() int { return 8 }); err == nil && got == 8 {
			break
		}
	}
	if got, err := within(nil, "/home/alice", time.Hour, func() int { return 9 }); got != 9 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
}
