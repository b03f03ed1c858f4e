package source

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/sys/unix"
)

// RunChild runs the fetch and exits if this process was started as the child of one;
// otherwise it returns. It must be the first call of main, and of TestMain in packages
// whose tests call Fetch.
func RunChild() {
	if len(os.Args) == 2 && os.Args[1] == childVerb {
		os.Exit(child(os.Stdin, os.Stdout))
	}
}

// job is one fetch in the child.
type job struct {
	request
	ep      *transport.Endpoint
	out     *json.Encoder
	secrets []string // what no message may contain
	budget  budget
	moved   string        // the warning that a tag was moved, also while the clone is recreated
	wait    time.Duration // as RetryAfter of an answer says
}

// child runs the fetch that it reads from in, and returns the exit code of the process.
func child(in io.Reader, out io.Writer) int {
	requests := json.NewDecoder(in)
	j := &job{out: json.NewEncoder(out)}
	if err := requests.Decode(&j.request); err != nil {
		fmt.Fprintf(os.Stderr, "cannot read the request: %v\n", err)
		return 1
	}
	if err := confine(j.memory()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go endWithParent(in)
	m := message{End: true}
	if err := j.run(); err != nil {
		m = message{Error: newFailure(err, j.secrets)}
		m.Error.RetryAfter = j.wait
	}
	if err := j.out.Encode(m); err != nil {
		return 1
	}
	return 0
}

// endWithParent ends this process when the parent closes its end of the pipe or dies.
func endWithParent(in io.Reader) {
	_, _ = bufio.NewReader(in).WriteTo(io.Discard)
	os.Exit(1)
}

// confine sets the limits of this process, and the global variables of go-git. Nothing but
// a fetch or a push runs in it. It may have memory times the memory of a fetch.
func confine(memory int64) error {
	debug.SetMemoryLimit(memory * softMemory)
	// Each thread takes memory, and the collector would start one for each processor.
	runtime.GOMAXPROCS(2)
	data := uint64(maxData)
	if data != unix.RLIM_INFINITY {
		data *= uint64(memory)
	}
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: data, Max: data}); err != nil {
		return fmt.Errorf("cannot bound the memory of the fetch: %w", err)
	}
	// A core dump would contain secrets.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("cannot forbid core dumps: %w", err)
	}
	// go-git disables multi_ack because it does not negotiate in rounds. A fetch here needs one
	// round, whose answer go-git understands, and Azure DevOps requires the capability.
	transport.UnsupportedCapabilities = []capability.Capability{capability.ThinPack}
	// Settings for ssh come from the configuration of nfsync alone, not from ssh_config.
	gitssh.DefaultSSHConfig = nil
	return nil
}

// phase sends the parent what the child does now, for the message of a timeout.
func (j *job) phase(format string, args ...any) {
	_ = j.out.Encode(message{Phase: fmt.Sprintf(format, args...)})
}

func (j *job) url() string { return j.Config.URLs[0] }

func (j *job) run() error {
	j.keepURLs()
	var err error
	if j.ep, err = endpoint(j.url()); err != nil {
		return err
	}
	switch local := j.ep.Protocol == "file"; {
	case j.Push != nil:
		return j.runPush()
	case j.Nodes != nil && local:
		return j.listLocalNodes()
	case j.Nodes != nil:
		return j.fetchNodes()
	case local:
		return j.runLocal()
	}
	return j.runRemote()
}

// setting returns how messages name a setting: by its flag and its key for a fetch, by its key for a push.
func (j *job) setting(flag, key string) string {
	if j.Push != nil {
		return "publish." + key
	}
	return flag + " (source." + key + ")"
}

// damageError is the error for a repository on disk that is damaged. A clone is then
// recreated.
type damageError struct{ err error }

func (e *damageError) Error() string { return "the stored repository is damaged: " + e.err.Error() }

func (e *damageError) Unwrap() error { return e.err }

func isDamage(err error) bool {
	_, ok := errors.AsType[*damageError](err)
	return ok
}

// catch turns a panic of go-git over damaged files into an error.
func catch(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &damageError{fmt.Errorf("reading it failed: %v", p)}
		}
	}()
	return f()
}
