// Steps runs a program inside the machines of the VM set, and stops it before
// each system call that changes a file, a directory or the loaded modules. There
// it asks for a copy of the machine's disk. The next boot has the copies.
//
// Steps syncs the disk before each copy, so a copy has everything that was done
// before. A power cut may also lose changes that were not synced yet. That leaves
// the same disk as an earlier copy, because the machine's file system writes
// changes in their order.
//
//	steps COMMAND [ARGUMENT...]
//
// Its exit code is that of the program.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// calls are the system calls before which the program is stopped.
var calls = map[uint32]string{
	unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite64",
	unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync", unix.SYS_FTRUNCATE: "ftruncate",
	unix.SYS_RENAME: "rename", unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2",
	unix.SYS_UNLINK: "unlink", unix.SYS_UNLINKAT: "unlinkat",
	unix.SYS_INIT_MODULE: "init_module", unix.SYS_FINIT_MODULE: "finit_module", unix.SYS_DELETE_MODULE: "delete_module",
}

// childName is the name under which this program starts itself.
const childName = "steps-child"

// channel is the descriptor of the socket on which the child sends the listener.
const channel = 3

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: steps COMMAND [ARGUMENT...]")
		os.Exit(1)
	}
	run := parent
	if os.Args[0] == childName {
		run = child
	}
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "steps:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

// child installs the filter for its thread, sends the listener to the parent, and
// executes the program.
func child(args []string) (int, error) {
	runtime.LockOSThread()
	unix.CloseOnExec(channel)
	path, err := exec.LookPath(args[0])
	if err != nil {
		return 0, err
	}
	listener, err := filter()
	if err != nil {
		return 0, err
	}
	if err := unix.Sendmsg(channel, []byte{0}, unix.UnixRights(listener), nil, 0); err != nil {
		return 0, err
	}
	return 0, syscall.Exec(path, args, os.Environ())
}

// filter makes the kernel notify the returned listener before each of the calls,
// and wait for its answer (seccomp(2), seccomp_unotify(2)).
func filter() (listener int, err error) {
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // nr of struct seccomp_data
	for nr := range calls {
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	all := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&all)))
	if errno != 0 {
		return 0, fmt.Errorf("cannot filter system calls: %w", errno)
	}
	return int(fd), nil
}

func parent(args []string) (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "channel")
	program := exec.Command("/proc/self/exe")
	program.Args = append([]string{childName}, args...)
	program.Stdin, program.Stdout, program.Stderr = os.Stdin, os.Stdout, os.Stderr
	program.ExtraFiles = []*os.File{theirs}
	if err := errors.Join(program.Start(), theirs.Close()); err != nil {
		return 0, err
	}
	// Before Linux 6.11 the listener does not report the program's end until
	// somebody has waited for it.
	ended := make(chan error, 1)
	go func() { ended <- program.Wait() }()
	listener, err := receive(pair[0])
	if err == nil {
		err = serve(listener)
	}
	if err != nil {
		_ = program.Process.Kill()
	}
	var exit *exec.ExitError
	if end := <-ended; end != nil && !errors.As(end, &exit) {
		err = errors.Join(err, end)
	}
	return program.ProcessState.ExitCode(), err
}

// receive receives the listener from the child.
func receive(from int) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(from, make([]byte, 1), oob, 0)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("the child has not sent its listener: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return 0, err
	}
	return fds[0], nil
}

// The kernel's struct seccomp_notif and struct seccomp_notif_resp
// (include/uapi/linux/seccomp.h).
type (
	notification struct {
		id         uint64
		pid, flags uint32
		nr, arch   uint32
		ip         uint64
		args       [6]uint64
	}
	response struct {
		id, val      uint64
		error, flags uint32
	}
)

// serve asks for a copy at each call, and then lets the call continue. It returns
// when the last process under the filter has ended.
func serve(listener int) error {
	console, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	for {
		poll := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		_, err := unix.Poll(poll, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case poll[0].Revents&unix.POLLIN == 0:
			return nil
		}
		var n notification
		switch err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINTR): // a signal ended the call since (seccomp_unotify(2))
			continue
		case err != nil:
			return fmt.Errorf("cannot see what is called: %w", err)
		}
		if n.isChange() {
			unix.Sync()
			if err := copyDisk(console, n.String()); err != nil {
				return err
			}
		}
		resume := response{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		err = ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&resume))
		if err != nil && !errors.Is(err, unix.ENOENT) { // a signal ended the call or its thread
			return fmt.Errorf("cannot let %s continue: %w", n, err)
		}
	}
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// copyDisk asks the test, over the console, for a copy of the disk under that
// name, and waits until it is made.
func copyDisk(console *os.File, name string) error {
	if _, err := fmt.Fprintf(console, "@@ copy %s\n", name); err != nil {
		return err
	}
	_, err := console.Read(make([]byte, 80))
	return err
}

// file returns the path of the file that is the call's first argument.
func (n notification) file() string { return fmt.Sprintf("/proc/%d/fd/%d", n.pid, n.args[0]) }

// isChange reports whether the call may change a file, a directory or the modules.
// A write to a pipe or an eventfd does not.
func (n notification) isChange() bool {
	if n.nr != unix.SYS_WRITE && n.nr != unix.SYS_PWRITE64 {
		return true
	}
	name, _ := os.Readlink(n.file())
	info, err := os.Stat(n.file())
	return err == nil && info.Mode().IsRegular() && strings.HasPrefix(name, "/")
}

// String returns the call with its file or module.
func (n notification) String() string {
	object := ""
	switch name := calls[n.nr]; name {
	case "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "finit_module":
		object, _ = os.Readlink(n.file())
	case "rename", "unlink", "delete_module":
		object = n.text(n.args[0])
	case "renameat", "renameat2", "unlinkat":
		object = n.text(n.args[1])
	}
	return calls[n.nr] + " " + object
}

// text returns the string at an address in the caller's memory.
func (n notification) text(at uint64) string {
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", n.pid))
	if err != nil {
		return ""
	}
	defer memory.Close()
	data := make([]byte, 128)
	size, _ := memory.ReadAt(data, int64(at))
	end := slices.Index(data[:size], 0)
	return string(data[:max(end, 0)])
}
