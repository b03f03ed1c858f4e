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

// RefusedError is why the agent has refused a request.
type RefusedError string

func (e RefusedError) Error() string { return string(e) }

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

// ErrAgentEnded is the error of Watch if the agent ends.
var ErrAgentEnded = errors.New("the agent has ended")

// Watch calls f with the status, and then with each new one, until ctx or the agent ends.
func (c *Client) Watch(ctx context.Context, f func(nf.NodeStatus) error) error {
	body, err := c.do(ctx, http.MethodGet, "events", nil)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was to end
	}
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
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
			return ErrAgentEnded
		case err != nil:
			return err
		}
		if err := f(s); err != nil {
			return err
		}
	}
}

// Sync wakes a lap that fetches.
func (c *Client) Sync(ctx context.Context, accept string) (SyncAnswer, error) {
	var a SyncAnswer
	err := c.post(ctx, "sync", SyncRequest{accept}, &a)
	return a, err
}

// Suspend suspends the agent for a time; 0 is until Resume.
func (c *Client) Suspend(ctx context.Context, reason string, d time.Duration) (nf.Suspension, error) {
	var s nf.Suspension
	err := c.post(ctx, "suspend", SuspendRequest{reason, int64(d / time.Second)}, &s)
	return s, err
}

// Resume ends a suspension. It returns the one that has ended; nil if there was none.
func (c *Client) Resume(ctx context.Context) (*nf.Suspension, error) {
	var a ResumeAnswer
	err := c.post(ctx, "resume", struct{}{}, &a)
	return a.Suspension, err
}

// Birth gives a container that is being made to the agent, and returns when that has given it its values.
func (c *Client) Birth(ctx context.Context, g nf.Given) (nf.Birth, error) {
	var b nf.Birth
	err := c.post(ctx, "births", g, &b)
	return b, err
}

func (c *Client) post(ctx context.Context, what string, doc, answer any) error {
	body, err := c.do(ctx, http.MethodPost, what, doc)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	return json.NewDecoder(io.LimitReader(body, maxRequest)).Decode(answer)
}

// do sends a request, with a document if doc is not nil, and returns the body of the answer.
func (c *Client) do(ctx context.Context, method, what string, doc any) (io.ReadCloser, error) {
	var sent io.Reader
	if doc != nil {
		text, err := json.Marshal(doc)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://agent/v1/"+what, sent)
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
	if res.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("cannot talk to the agent: it is of another version, and does not know %s", what)
	}
	var p problem
	if json.NewDecoder(io.LimitReader(res.Body, maxRequest)).Decode(&p) != nil || p.Error == "" {
		p.Error = res.Status
	}
	return nil, RefusedError(p.Error)
}
