package demo

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// unshared runs f on a thread in namespaces of its own. The thread ends with f.
func unshared(t *testing.T, flags int, f func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(flags)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// TestTrackingRule has nft print what the messages have made.
func TestTrackingRule(t *testing.T) {
	var got []byte
	err := unshared(t, unix.CLONE_NEWNET, func() (err error) {
		if err := addTrackingRule(); err != nil {
			return err
		}
		got, err = exec.Command("nft", "list", "ruleset").CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	want := `table inet demo {
	chain input {
		type filter hook input priority filter; policy accept;
		ct state established,related accept
	}
}
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// TestTrackingRuleRefused: an error of the kernel is one.
func TestTrackingRuleRefused(t *testing.T) {
	err := unshared(t, unix.CLONE_NEWNET, func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			return err
		}
		return addTrackingRule()
	})
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("without privileges: %v, want %v", err, unix.EPERM)
	}
}

// TestPrivateMounts: in the demo's mounts even root cannot reach the
// parameters of modules.
func TestPrivateMounts(t *testing.T) {
	err := unshared(t, unix.CLONE_NEWNS, func() error {
		if err := privateMounts(); err != nil {
			return err
		}
		f, err := os.OpenFile("/sys/module/nf_conntrack/parameters/hashsize", os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		return err
	})
	if !errors.Is(err, unix.EROFS) {
		t.Errorf("opening hashsize for writing: %v, want a read-only file system", err)
	}
}
