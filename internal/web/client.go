package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// ErrNoAgent is the error for a run directory without a running agent.
var ErrNoAgent = errors.New("no agent is running")

// Client talks to the agent that has its socket in a run directory.
type Client struct {
	http http.Client
}

// NewClient returns a client. It does not connect.
func NewClient(dir string) *Client {
	name := filepath.Join(dir, SocketName)
	return &Client{http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: requestTimeout}).DialContext(ctx, "unix", name)
		},
		ResponseHeaderTimeout: requestTimeout,
	}}}
}

// Status returns the status of the agent.
func (c *Client) Status(ctx context.Context) (s nf.NodeStatus, err error) {
	body, err := c.do(ctx, http.MethodGet, "status", nil)
	if err != nil {
		return s, err
	}
	defer func() { _ = body.Close() }()
	err = json.NewDecoder(io.LimitReader(body, maxStatus)).Decode(&s)
	return s, err
}

// maxStatus bounds a status, in bytes.
const maxStatus = 256 << 20

// Watch calls f with the status, and then after each lap, until ctx or the agent ends.
func (c *Client) Watch(ctx context.Context, f func(nf.NodeStatus) error) error {
	body, err := c.do(ctx, http.MethodGet, "events", nil)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	for dec := json.NewDecoder(body); ; {
		var s nf.NodeStatus
		err := dec.Decode(&s)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return errors.New("the agent has ended")
		case err != nil:
			return err
		}
		if err := f(s); err != nil {
			return err
		}
	}
}

// Sync wakes a lap that fetches.
func (c *Client) Sync(ctx context.Context, accept string) error {
	return c.post(ctx, "sync", SyncRequest{accept})
}

// Suspend suspends the agent for a time; 0 is until Resume.
func (c *Client) Suspend(ctx context.Context, reason string, d time.Duration) error {
	return c.post(ctx, "suspend", SuspendRequest{reason, int64(d / time.Second)})
}

// Resume ends a suspension.
func (c *Client) Resume(ctx context.Context) error { return c.post(ctx, "resume", struct{}{}) }

func (c *Client) post(ctx context.Context, what string, doc any) error {
	body, err := c.do(ctx, http.MethodPost, what, doc)
	if err != nil {
		return err
	}
	return body.Close()
}

// do sends a request and returns the body of the answer.
func (c *Client) do(ctx context.Context, method, what string, doc any) (io.ReadCloser, error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://agent/v1/"+what, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNoAgent
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("this user may not talk to the agent: root and the group %s may: %w", Group, fs.ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("cannot talk to the agent: %w", err)
	case res.StatusCode == http.StatusOK:
		return res.Body, nil
	}
	defer func() { _ = res.Body.Close() }()
	var p problem
	if json.NewDecoder(io.LimitReader(res.Body, maxRequest)).Decode(&p) != nil || p.Error == "" {
		p.Error = res.Status
	}
	return nil, errors.New(p.Error)
}
