package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// kernelEvents is the multicast group of the kernel's own events (lib/kobject_uevent.c).
const kernelEvents = 1

// Modules calls changed for each kernel module that is loaded or unloaded, until ctx ends. The
// error says why the kernel's events cannot be received.
func Modules(ctx context.Context, changed func(module string)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return fmt.Errorf("cannot receive module events: %w", err)
	}
	f := os.NewFile(uintptr(fd), "uevents") //nolint:gosec // a file descriptor is not negative
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelEvents}); err != nil {
		return errors.Join(fmt.Errorf("cannot receive module events: %w", err), f.Close())
	}
	defer context.AfterFunc(ctx, func() { _ = f.Close() })()
	raw, err := f.SyscallConn()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	buf := make([]byte, 8<<10) // UEVENT_BUFFER_SIZE is 2 KiB
	for {
		var n int
		var from unix.Sockaddr
		var readErr error
		err := raw.Read(func(fd uintptr) bool {
			n, from, readErr = unix.Recvfrom(int(fd), buf, 0)
			return !errors.Is(readErr, unix.EAGAIN)
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return errors.Join(err, f.Close())
		case errors.Is(readErr, unix.ENOBUFS):
			changed("") // events were lost
		case errors.Is(readErr, unix.EINTR):
		case readErr != nil:
			return errors.Join(fmt.Errorf("cannot receive module events: %w", readErr), f.Close())
		default:
			if module := moduleOf(buf[:n], from); module != "" {
				changed(module)
			}
		}
	}
}

// moduleOf returns the module that an event is about; "" for any other event, and for one that
// the kernel has not sent: every process with CAP_NET_ADMIN may send to the group.
func moduleOf(event []byte, from unix.Sockaddr) string {
	if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
		return ""
	}
	head, _, _ := bytes.Cut(event, []byte{0})
	action, path, _ := bytes.Cut(head, []byte{'@'})
	name, isModule := bytes.CutPrefix(path, []byte("/module/"))
	if !isModule || bytes.ContainsRune(name, '/') || string(action) != "add" && string(action) != "remove" {
		return ""
	}
	return string(name)
}
