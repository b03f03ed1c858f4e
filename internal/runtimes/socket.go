package runtimes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// answerTimeout is how long a runtime may take for an answer.
const answerTimeout = 5 * time.Second

// dialRoot connects to a socket on which a process of root listens (SO_PEERCRED in unix(7)): the one that
// has called listen(2), which is systemd if it starts the program.
func dialRoot(ctx context.Context, socket string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	raw, err := conn.(*net.UnixConn).SyscallConn()
	var peer *unix.Ucred
	if err == nil {
		var peerErr error
		err = errors.Join(raw.Control(func(fd uintptr) { peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }), peerErr)
	}
	if err == nil && peer.Uid != 0 {
		err = fmt.Errorf("user %d listens on %s, not root", peer.Uid, socket)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
