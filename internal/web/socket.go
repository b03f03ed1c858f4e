package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/openfile"
)

// Group is the group whose members may look at the agent and wake it. Root may do everything.
const Group = "nfsync"

// SocketName is the name of the socket in the run directory.
const SocketName = "agent.sock"

// Talker is the agent, as the socket sees it.
type Talker interface {
	Status() nf.NodeStatus
	Listen() (updates <-chan nf.NodeStatus, done func())
	// Sync wakes a lap that fetches. accept is empty, or a commit that is taken even if its
	// branch was rewritten.
	Sync(accept string)
	// Suspend suspends the agent; nil resumes it.
	Suspend(s *nf.Suspension) error
	// Confirm confirms the run that waits for it.
	Confirm() (nf.Confirmation, error)
	// Birth gives a container that is being made its values, and returns when that has been done.
	Birth(ctx context.Context, g nf.Given) (nf.Birth, error)
}

// The bounds of a request.
const (
	maxRequest     = 64 << 10 // bytes
	requestTimeout = 10 * time.Second
)

// The most connections to the socket: of one member of the group, and of all. Those who may change
// the agent have no limit: nobody keeps them out.
const (
	maxOfMember  = 32
	maxOfMembers = 256
)

// ServeSocket answers requests on a socket in dir until ctx ends. say reports what goes wrong
// while a request is answered.
func ServeSocket(ctx context.Context, dir string, agent Talker, say func(string)) error {
	l, err := listen(filepath.Join(dir, SocketName))
	if err != nil {
		return fmt.Errorf("cannot listen for nfsync status and the like: %w", err)
	}
	s := socketServer(ctx, agent, requestTimeout)
	s.ErrorLog = errorLog(say)
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.Serve(limit(l, maxOfMember, maxOfMembers, memberOf)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func socketServer(ctx context.Context, agent Talker, timeout time.Duration) *http.Server {
	return &http.Server{Handler: socketHandler(ctx, agent, timeout), ConnContext: withPeer, ReadTimeout: timeout, WriteTimeout: 2 * timeout, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }}
}

// ErrOtherAgent is the error if another agent uses the run directory.
var ErrOtherAgent = errors.New("another agent is running")

// LockAgent makes this process the agent of a run directory until release is called or the
// process ends (flock(2)). The error is ErrOtherAgent if there is one.
func LockAgent(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := openfile.OwnDir(dir); err != nil {
		return nil, err
	}
	f, err := openfile.Own(filepath.Join(dir, "agent.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w with the run directory %s%s", ErrOtherAgent, dir, holderOf(f))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	// The number is for people and scripts.
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	return func() { _ = f.Close() }, nil
}

// holderOf names the agent that has written its number to the file; empty if there is none.
func holderOf(f *os.File) string {
	text := make([]byte, 32)
	n, _ := f.ReadAt(text, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(": process %d", pid)
}

// listen makes the socket, in place of one that an ended agent has left. The caller holds the
// lock of the agent.
func listen(name string) (net.Listener, error) {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", name)
	if err != nil {
		return nil, err
	}
	if err := share(name); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// share lets the group use the socket, if the group exists and this user may.
func share(name string) error {
	if err := os.Chmod(name, 0o600); err != nil {
		return err
	}
	g, err := user.LookupGroup(Group)
	if err != nil || os.Geteuid() != 0 {
		return nil //nolint:nilerr // without the group the socket is this user's alone
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return nil //nolint:nilerr // the same
	}
	dir := filepath.Dir(name)
	// Members may pass through the directory, and not list it.
	return errors.Join(os.Chown(dir, 0, gid), os.Chmod(dir, 0o710), os.Chown(name, 0, gid), os.Chmod(name, 0o660))
}

// peer is the process at the other end of a connection.
type peer struct {
	uid, pid int
	known    bool
}

type peerKey struct{}

// withPeer stores who has connected.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if bounded, ok := c.(*counted); ok {
		c = bounded.Conn
	}
	return context.WithValue(ctx, peerKey{}, credentials(c))
}

// memberOf names the user who has connected; empty if that user may change the agent.
func memberOf(c net.Conn) string {
	p := credentials(c)
	if p.mayChange() {
		return ""
	}
	return strconv.Itoa(p.uid)
}

// credentials returns who has connected (SO_PEERCRED in unix(7)).
func credentials(c net.Conn) peer {
	var p peer
	if conn, ok := c.(*net.UnixConn); ok {
		if raw, err := conn.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
				if err == nil {
					p = peer{int(cred.Uid), int(cred.Pid), true}
				}
			})
		}
	}
	return p
}

// mayChange reports whether the process is root's, or of the user that the agent runs as.
func (p peer) mayChange() bool { return p.known && (p.uid == 0 || p.uid == os.Geteuid()) }

func (p peer) name() string {
	if u, err := user.LookupId(strconv.Itoa(p.uid)); err == nil {
		return u.Username
	}
	return "user " + strconv.Itoa(p.uid)
}

func peerOf(r *http.Request) peer {
	p, _ := r.Context().Value(peerKey{}).(peer)
	return p
}

// SyncRequest is the body of POST /v1/sync.
type SyncRequest struct {
	Accept string `json:"accept,omitempty"` // a commit that is taken even if its branch was rewritten
}

// SuspendRequest is the body of POST /v1/suspend.
type SuspendRequest struct {
	Reason  string `json:"reason"`
	Seconds int64  `json:"seconds,omitempty"` // 0: until it is resumed
}

// The bounds of a suspension.
const (
	maxReason  = 1000 // bytes
	maxSeconds = 10 * 365 * 24 * 60 * 60
)

// check returns an error for a suspension that nobody can mean.
func (r SuspendRequest) check() error {
	switch {
	case strings.TrimSpace(r.Reason) == "":
		return errors.New("a reason is required")
	case len(r.Reason) > maxReason:
		return fmt.Errorf("the reason has more than %d bytes", maxReason)
	case r.Seconds < 0 || r.Seconds > maxSeconds:
		return errors.New("the time is negative or longer than ten years")
	}
	return nil
}

// SyncAnswer is the answer to POST /v1/sync: what the lap that it wakes has to wait for, and what
// keeps that from making changes. Both may be nil.
type SyncAnswer struct {
	CurrentLap *nf.CurrentLap `json:"currentLap"`
	Suspension *nf.Suspension `json:"suspension"`
}

// ResumeAnswer is the answer to POST /v1/resume.
type ResumeAnswer struct {
	Suspension *nf.Suspension `json:"suspension"` // the one that has ended; nil if there was none
}

// socketHandler answers the requests of the socket.
func socketHandler(ctx context.Context, agent Talker, timeout time.Duration) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, agent.Status()) })
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) { events(ctx, w, r, agent, timeout) })
	mux.HandleFunc("POST /v1/sync", func(w http.ResponseWriter, r *http.Request) {
		var req SyncRequest
		switch {
		case !read(w, r, &req):
		case req.Accept != "" && !peerOf(r).mayChange():
			refuse(w, http.StatusForbidden, "only root may accept a rewritten branch")
		case req.Accept != "" && !nf.IsCommitID(req.Accept):
			refuse(w, http.StatusBadRequest, "the commit to accept is not a full hash of 40 lower-case hexadecimal digits")
		default:
			s := agent.Status()
			agent.Sync(req.Accept)
			answer(w, SyncAnswer{s.CurrentLap, s.Suspension})
		}
	})
	mux.HandleFunc("POST /v1/suspend", func(w http.ResponseWriter, r *http.Request) {
		var req SuspendRequest
		switch {
		case !peerOf(r).mayChange():
			refuse(w, http.StatusForbidden, "only root may suspend the agent")
		case !read(w, r, &req):
		case req.check() != nil:
			refuse(w, http.StatusBadRequest, req.check().Error())
		default:
			s := suspension(req, peerOf(r), time.Now())
			change(w, agent, s, s)
		}
	})
	mux.HandleFunc("POST /v1/resume", func(w http.ResponseWriter, r *http.Request) {
		if !peerOf(r).mayChange() {
			refuse(w, http.StatusForbidden, "only root may resume the agent")
			return
		}
		change(w, agent, nil, ResumeAnswer{agent.Status().Suspension})
	})
	mux.HandleFunc("POST /v1/confirm", func(w http.ResponseWriter, r *http.Request) {
		if !peerOf(r).mayChange() {
			refuse(w, http.StatusForbidden, "only root may confirm changes")
			return
		}
		c, err := agent.Confirm()
		if err != nil {
			refuse(w, http.StatusConflict, err.Error())
			return
		}
		answer(w, c)
	})
	mux.HandleFunc("POST /v1/births", func(w http.ResponseWriter, r *http.Request) { birth(w, r, agent) })
	return mux
}

// birth answers a hook of a container runtime, when the container that is being made has its values.
func birth(w http.ResponseWriter, r *http.Request, agent Talker) {
	var g nf.Given
	switch {
	case !peerOf(r).mayChange():
		refuse(w, http.StatusForbidden, "only root may give containers to the agent")
		return
	case !read(w, r, &g):
		return
	}
	b, err := agent.Birth(r.Context(), g)
	switch {
	case r.Context().Err() != nil: // who has asked does not wait any more
	case err != nil:
		refuse(w, http.StatusConflict, err.Error())
	default:
		answer(w, b)
	}
}

func suspension(req SuspendRequest, p peer, now time.Time) *nf.Suspension {
	s := &nf.Suspension{Since: now, Reason: req.Reason, By: p.name()}
	if req.Seconds > 0 {
		until := now.Add(time.Duration(req.Seconds) * time.Second)
		s.Until = &until
	}
	return s
}

func change(w http.ResponseWriter, agent Talker, s *nf.Suspension, done any) {
	if err := agent.Suspend(s); err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	answer(w, done)
}

// events sends the status, and then each new one, a JSON document a line. A reader that does not
// read is dropped.
func events(ctx context.Context, w http.ResponseWriter, r *http.Request, agent Talker, timeout time.Duration) {
	updates, done := agent.Listen()
	defer done()
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc, conn := json.NewEncoder(w), http.NewResponseController(w)
	s := agent.Status()
	for {
		_ = conn.SetWriteDeadline(time.Now().Add(timeout))
		if enc.Encode(s) != nil || conn.Flush() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-r.Context().Done():
			return
		case s = <-updates:
		}
	}
}

// read reads the body of a request. It answers one that cannot be read.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if err = dec.Decode(&struct{}{}); err == nil {
			err = errors.New("more than one document")
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return true
	case isTooLarge(err):
		refuse(w, http.StatusRequestEntityTooLarge, "the request is too large")
	default:
		refuse(w, http.StatusBadRequest, "the request cannot be read: "+err.Error())
	}
	return false
}

func answer(w http.ResponseWriter, doc any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(doc) // the reader has gone
}

// problem is the body of an answer that refuses.
type problem struct {
	Error string `json:"error"`
}

func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{why}) // the reader has gone
}
