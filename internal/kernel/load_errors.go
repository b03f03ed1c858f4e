package kernel

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// explained returns an error of a system call with its meaning here.
func explained(meaning string, err error) error { return fmt.Errorf("%s: %w", meaning, err) }

// initErrors has the meanings of the errors of finit_module(2), by its manual page and
// load_module in kernel/module/main.c.
var initErrors = map[unix.Errno]string{
	unix.ENOEXEC:      "its file is damaged, or was built for another kernel",
	unix.ENOKEY:       "it is signed with a key that the kernel does not know, or not signed at all",
	unix.EKEYREJECTED: "the kernel rejects its signature",
	unix.EKEYEXPIRED:  "the key of its signature has expired",
	unix.EKEYREVOKED:  "the key of its signature is revoked",
	unix.EBADMSG:      "its signature is damaged",
	unix.ENOENT:       "no loaded module has a symbol that it uses; the kernel's log names the symbol",
	unix.ENOSYS:       "the kernel has no module support",
	unix.EINVAL:       "the kernel refuses a parameter's value, or the file",
	unix.ERANGE:       "the kernel refuses a parameter's value",
	unix.ENODEV:       "it finds no device for it",
	unix.EBUSY:        "it is being loaded or unloaded at this moment",
	unix.ENOMEM:       "the kernel has no memory for it",
}

// explainInit explains an error of finit_module(2).
func (fs FS) explainInit(module string, err error) error {
	if _, ofFile := errors.AsType[*os.PathError](err); ofFile {
		return err
	}
	errno, _ := errors.AsType[unix.Errno](err)
	if meaning, ok := initErrors[errno]; ok {
		return explained(meaning, err)
	}
	if errno == unix.EPERM {
		return explained(fs.whyNotPermitted(module), err)
	}
	return err
}

// explainDelete explains an error of delete_module(2).
func (fs FS) explainDelete(module string, err error) error {
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		if m := fs.user(module); m != "" {
			return explained("it is in use by "+m, err)
		}
		return explained("it is in use", err)
	case errors.Is(err, unix.EBUSY):
		return explained("it cannot be unloaded: it has no exit function, or is being loaded or unloaded at this moment", err)
	case errors.Is(err, unix.ENOSYS):
		return explained("the kernel cannot unload modules", err)
	case errors.Is(err, unix.EPERM):
		return explained(fs.whyNotPermitted(module), err)
	}
	return err
}

// user names the users of a module: its holders, or their number.
func (fs FS) user(module string) string {
	live, err := fs.procModules()
	m := live[module]
	switch {
	case err != nil || m.refs <= 0:
		return ""
	case len(m.holders) > 0:
		return strings.Join(m.holders, ", ")
	}
	return fmt.Sprintf("%d references", m.refs)
}

// whyNotPermitted finds the reason of an EPERM, which the kernel does not give.
func (fs FS) whyNotPermitted(module string) string {
	if why := fs.deniedModules(); why != "" {
		return why
	}
	if fs.modulesDisabled() {
		return "kernel.modules_disabled is 1"
	}
	data, _ := readFile(fs.proc("cmdline"))
	modprobe := modprobeConfig{parseCmdline(data), &tree{}}
	if bar := modprobe.bar(module); bar != (nf.Bar{}) {
		return bar.String()
	}
	if why := fs.signaturesRequired(); why != "" {
		return why
	}
	return "the kernel does not permit it"
}
