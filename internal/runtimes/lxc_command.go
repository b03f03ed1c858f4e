package runtimes

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// commandName is the end of the name of the socket on which the monitor of a container of LXC takes
// commands (lxc_make_abstract_socket_name in src/lxc/commands_utils.c).
const commandName = "/command"

// commandSockets returns the names of the sockets on which monitors of LXC may listen, from
// /proc/net/unix (unix_seq_show in net/unix/af_unix.c). Anybody can give a socket such a name, and a
// name can have line feeds in it.
func commandSockets(r io.Reader) ([]string, error) {
	const name, listens = 7, "00010000"
	var sockets []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.SplitN(lines.Text(), " ", name+1)
		if len(f) == name+1 && f[3] == listens && strings.HasPrefix(f[name], "@") && strings.HasSuffix(f[name], commandName) {
			sockets = append(sockets, strings.TrimPrefix(f[name], "@"))
		}
	}
	slices.Sort(sockets)
	return slices.Compact(sockets), lines.Err()
}

// Limits of asking the monitors of LXC.
const (
	commandPatience = 200 * time.Millisecond // for the answers of those that are asked together
	commandBatch    = 128                    // how many are asked together
)

// initAnswer is what the monitor of a container says of its first process.
type initAnswer struct {
	socket string
	pid    int
	err    error // fs.ErrNotExist: root does not listen, or the container has not started
}

// askInits asks monitors of LXC for the first processes of their containers, from the network
// namespace of this thread. It waits for none that does not answer in time. The error is that of ctx.
func askInits(ctx context.Context, sockets []string) ([]initAnswer, error) {
	var all []initAnswer
	for batch := range slices.Chunk(sockets, commandBatch) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		all = append(all, askBatch(batch)...)
	}
	return all, nil
}

func askBatch(sockets []string) []initAnswer {
	answers := make([]initAnswer, len(sockets))
	waiting := make([]unix.PollFd, len(sockets)) // poll(2) leaves out negative ones
	for i, socket := range sockets {
		fd, err := sendCommand(socket)
		answers[i] = initAnswer{socket: socket, err: err}
		waiting[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	end := time.Now().Add(commandPatience)
	for {
		for i := range waiting {
			w := &waiting[i]
			if w.Fd >= 0 && w.Revents != 0 {
				answers[i].pid, answers[i].err = receivePID(int(w.Fd))
				unix.Close(int(w.Fd))
				w.Fd = -1
			}
		}
		left := time.Until(end)
		if left <= 0 || !slices.ContainsFunc(waiting, func(w unix.PollFd) bool { return w.Fd >= 0 }) {
			break
		}
		_, _ = unix.Poll(waiting, int(left.Milliseconds())+1) // interrupted: it is asked again
	}
	for i, w := range waiting {
		if w.Fd >= 0 {
			unix.Close(int(w.Fd))
			answers[i].err = fmt.Errorf("its monitor does not answer within %v", commandPatience)
		}
	}
	return answers
}

// A request and an answer of LXC have a command or a result, the length of what follows, and a pointer
// that holds a number here: lxc_cmd_req and lxc_cmd_rsp in src/lxc/commands.h.
const (
	getInitPID  = 4 // LXC_CMD_GET_INIT_PID
	pointerSize = strconv.IntSize / 8
	commandSize = 8 + pointerSize
)

// sendCommand asks a monitor for the first process of its container, without waiting. It returns the
// socket on which the answer comes, or -1 with the error.
func sendCommand(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot ask its monitor: %w", err)
	}
	if err := connectMonitor(fd, name); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func connectMonitor(fd int, name string) error {
	err := unix.Connect(fd, &unix.SockaddrUnix{Name: "@" + name})
	switch {
	case err == unix.ECONNREFUSED, err == unix.EINVAL: // ended meanwhile; no name of a socket
		return fs.ErrNotExist
	case err == unix.EAGAIN:
		return errors.New("its monitor has too many connections that wait")
	case err != nil:
		return fmt.Errorf("cannot ask its monitor: %w", err)
	}
	if err := rootListens(fd); err != nil {
		return fs.ErrNotExist // anybody can take the name
	}
	request := make([]byte, commandSize)
	binary.NativeEndian.PutUint32(request, getInitPID)
	if err := unix.Send(fd, request, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("cannot ask its monitor: %w", err)
	}
	return nil
}

// rootListens returns an error unless the process that listens on the other side of a socket was root's
// when it began to (SO_PEERCRED in unix(7)).
func rootListens(fd int) error {
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fmt.Errorf("cannot see who listens: %w", err)
	}
	if peer.Uid != 0 {
		return fmt.Errorf("user %d listens, not root", peer.Uid)
	}
	return nil
}

// receivePID reads the answer of a monitor.
func receivePID(fd int) (int, error) {
	answer := make([]byte, commandSize)
	n, err := unix.Read(fd, answer)
	if err != nil {
		return 0, fmt.Errorf("cannot read the answer of its monitor: %w", err)
	}
	if n == 0 {
		return 0, fs.ErrNotExist // it ends
	}
	return parseInitPID(answer[:n])
}

// parseInitPID reads the answer to LXC_CMD_GET_INIT_PID. It returns fs.ErrNotExist if the container has
// no process yet.
func parseInitPID(answer []byte) (int, error) {
	if len(answer) != commandSize {
		return 0, fmt.Errorf("the answer of its monitor has %d bytes, not %d", len(answer), commandSize)
	}
	if result := int32(binary.NativeEndian.Uint32(answer)); result < 0 {
		return 0, fmt.Errorf("its monitor refuses to answer: %w", unix.Errno(-result))
	}
	// A PID fits into the half of a pointer where a big-endian machine has its last bytes.
	number := int64(int32(binary.NativeEndian.Uint32(answer[8:])))
	if pointerSize == 8 {
		number = int64(binary.NativeEndian.Uint64(answer[8:]))
	}
	switch {
	case number <= 0:
		return 0, fs.ErrNotExist
	case number > maxPID:
		return 0, fmt.Errorf("the answer of its monitor is no process: %d", number)
	}
	return int(number), nil
}

// maxPID is the greatest PID (PID_MAX_LIMIT in include/linux/threads.h).
const maxPID = 4 << 20

// askMonitors asks the monitors of LXC in the node's network namespace, to which the names of their
// sockets belong, for the first processes of their containers: those whose socket is wanted.
func (n Node) askMonitors(ctx context.Context, wanted func(socket string) bool) (answers []initAnswer, err error) {
	err = n.inNode(func() error {
		f, err := os.Open(n.proc() + "/thread-self/net/unix")
		if errors.Is(err, fs.ErrNotExist) {
			return nil // no procfs, or a kernel without sockets of this kind
		}
		if err != nil {
			return err
		}
		defer f.Close()
		sockets, err := commandSockets(f)
		if err != nil {
			return fmt.Errorf("cannot read the sockets of the node: %w", err)
		}
		answers, err = askInits(ctx, slices.DeleteFunc(sockets, func(s string) bool { return !wanted(s) }))
		return err
	})
	return answers, err
}
