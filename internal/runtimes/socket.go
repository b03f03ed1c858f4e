package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Limits of one request to a runtime.
const (
	maxWait   = 5 * time.Second
	maxAnswer = 32 << 20 // bytes
)

// get sends a GET request to a runtime of root that listens on a socket, and lets parse read the
// answer.
func get(ctx context.Context, socket, path string, parse func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialRoot(ctx, socket)
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", socket, err)
	}
	defer func() { _ = answer.Body.Close() }() // it was only read
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: the answer is %s", socket, answer.Status)
	}
	body := &io.LimitedReader{R: answer.Body, N: maxAnswer}
	if err := parse(body); err != nil {
		if body.N <= 0 {
			err = fmt.Errorf("the answer has more than %d MiB", maxAnswer>>20)
		}
		return fmt.Errorf("%s: %w", socket, err)
	}
	return nil
}

// dialRoot connects to a socket on which root listens.
func dialRoot(ctx context.Context, socket string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.Join(errors.New("no socket of a file"), conn.Close())
	}
	control, err := raw.SyscallConn()
	if err == nil {
		var peer error
		err = errors.Join(control.Control(func(fd uintptr) { peer = rootListens(int(fd)) }), peer)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
