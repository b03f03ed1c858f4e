package kernel

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// support tells whether modules can be loaded. What lockdown and sig_enforce
// refuse are unsigned modules, so they lock only a kernel whose modules are
// not signed: under Secure Boot the distribution's own modules load.
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

// signaturesRequired says what makes the kernel refuse unsigned modules, if
// anything does (module_sig_check in kernel/module/signing.c).
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

// lockdownMode is the mode in brackets of "none [integrity] confidentiality"
// (security/lockdown/lockdown.c); none where there is no lockdown.
func lockdownMode(text string) string {
	_, rest, _ := strings.Cut(text, "[")
	mode, _, ok := strings.Cut(rest, "]")
	if !ok {
		return "none"
	}
	return mode
}

// signed tells whether the kernel's own modules are signed, by looking at the
// first of modules.dep that can be read.
func (inv *inventory) signed() bool {
	for _, name := range slices.Sorted(maps.Keys(inv.tree.files)) {
		file := inv.tree.files[name]
		if !strings.HasPrefix(file.path, "kernel/") {
			continue // not the kernel's own: of DKMS, say
		}
		if data, err := readModule(inv.tree.path(file)); err == nil {
			return isSigned(data)
		}
	}
	return false
}

// isSigned tells whether a module's file ends as scripts/sign-file.c leaves it.
func isSigned(module []byte) bool {
	return bytes.HasSuffix(module, []byte("~Module signature appended~\n"))
}
