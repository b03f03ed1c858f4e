package kernel

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// support returns whether modules can be loaded, and why not. Lockdown and sig_enforce
// refuse unsigned modules only: under Secure Boot the distribution's own modules load.
func (inv *inventory) support() (support, reason string) {
	switch {
	case inv.none:
		return nf.SupportNone, fmt.Sprintf("the kernel is built without module support: there is no %s", inv.fs.proc("modules"))
	case inv.fs.modulesDisabled():
		return nf.SupportLocked, "kernel.modules_disabled is 1: no module can be loaded or unloaded until the node restarts"
	}
	if why := inv.fs.signaturesRequired(); why != "" && !inv.signed() {
		return nf.SupportLocked, fmt.Sprintf("%s: the kernel refuses unsigned modules, and those of %s do not show a signature", why, inv.tree.dir)
	}
	return nf.SupportLoadable, ""
}

// modulesDisabled reads kernel.modules_disabled
// (Documentation/admin-guide/sysctl/kernel.rst).
func (fs FS) modulesDisabled() bool {
	value, _ := readString(fs.proc("sys/kernel/modules_disabled"))
	return value == "1"
}

// signaturesRequired says what makes the kernel refuse unsigned modules; empty if
// nothing does (module_sig_check in kernel/module/signing.c).
func (fs FS) signaturesRequired() string {
	lockdown, _ := readString(fs.sys("kernel/security/lockdown"))
	if mode := lockdownMode(lockdown); mode != "none" {
		return "kernel lockdown is " + mode
	}
	if enforce, _ := readString(fs.sys("module/module/parameters/sig_enforce")); enforce == "Y" {
		return "module.sig_enforce is set"
	}
	return ""
}

// lockdownMode returns the mode in brackets of "none [integrity] confidentiality"
// (security/lockdown/lockdown.c); none without lockdown.
func lockdownMode(text string) string {
	_, rest, _ := strings.Cut(text, "[")
	mode, _, ok := strings.Cut(rest, "]")
	if !ok {
		return "none"
	}
	return mode
}

// signed reports whether the kernel's own modules are signed: whether the first of
// modules.dep that can be read is.
func (inv *inventory) signed() bool {
	for _, name := range slices.Sorted(maps.Keys(inv.tree.files)) {
		file := inv.tree.files[name]
		if !strings.HasPrefix(file.path, "kernel/") {
			continue // not the kernel's own, but DKMS's for instance
		}
		if data, err := readModule(inv.tree.path(file)); err == nil {
			return bytes.HasSuffix(data, []byte("~Module signature appended~\n")) // scripts/sign-file.c
		}
	}
	return false
}
