package runtimes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"nfsync.dev/nfsync/internal/openfile"
)

// Bounds on the answer of a runtime.
const (
	maxAnswer     = 16 << 20 // bytes
	answerTimeout = 5 * time.Second
)

// ask decodes the JSON that a program of root answers on its socket within answerTimeout, to one GET of HTTP/1.1.
func ask(ctx context.Context, socket, target string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return get(ctx, socket, target, into)
}

// get is ask without a limit of its own to the time.
func get(ctx context.Context, socket, target string, into any) error {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialRoot(ctx, socket)
	}}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+target, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: it answers %s", target, response.Status)
	}
	return decodeAnswer(response.Body, into)
}

// decodeAnswer decodes a JSON value of at most maxAnswer bytes.
func decodeAnswer(body io.Reader, into any) error {
	limited := &io.LimitedReader{R: body, N: maxAnswer + 1}
	err := json.NewDecoder(limited).Decode(into)
	if limited.N <= 0 {
		return openfile.TooLargeError(maxAnswer)
	}
	return err
}

// dialRoot connects to a socket on which a process of root listens (SO_PEERCRED in unix(7)): the one that
// has called listen(2), which is systemd if it starts the program.
func dialRoot(ctx context.Context, socket string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s is no socket", socket), conn.Close())
	}
	raw, err := unixConn.SyscallConn()
	if err == nil {
		var peer error
		err = errors.Join(raw.Control(func(fd uintptr) { peer = rootListens(int(fd)) }), peer)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", socket, err), conn.Close())
	}
	return conn, nil
}
