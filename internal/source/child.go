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

// job is one request in the child.
type job struct {
	request
	ep  *transport.Endpoint
	out *json.Encoder
	// secrets are the contents of secret files: no message may hold them.
	secrets []string
	budget  budget
}

func child(in io.Reader, out io.Writer) int {
	if err := confine(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	requests := json.NewDecoder(in)
	j := &job{out: json.NewEncoder(out)}
	if err := requests.Decode(&j.request); err != nil {
		fmt.Fprintf(os.Stderr, "cannot read the request: %v\n", err)
		return 1
	}
	go endWithParent(in)
	m := message{End: true}
	if err := j.run(); err != nil {
		m = message{Error: newFailure(err, j.secrets)}
	}
	if err := j.out.Encode(m); err != nil {
		return 1
	}
	return 0
}

// endWithParent exits when the parent's end of the pipe closes: the parent has died or
// needs no answer any more.
func endWithParent(in io.Reader) {
	_, _ = bufio.NewReader(in).WriteTo(io.Discard)
	os.Exit(1)
}

// confine bounds this process before it reads anything, and sets the global variables
// of go-git: this process does nothing else.
func confine() error {
	debug.SetMemoryLimit(softMemory)
	// Each thread takes memory: on a machine of many processors the collector would start as many.
	runtime.GOMAXPROCS(2)
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: maxData, Max: maxData}); err != nil {
		return fmt.Errorf("cannot bound the memory of the fetch: %w", err)
	}
	// A dump of this process would hold secrets.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("cannot forbid core dumps: %w", err)
	}
	// go-git withholds multi_ack because it does not negotiate in rounds. One round is all that
	// is needed here, its answer is understood, and Azure DevOps insists on the capability.
	transport.UnsupportedCapabilities = []capability.Capability{capability.ThinPack}
	// The ssh_config of a user does not add to the configuration.
	gitssh.DefaultSSHConfig = nil
	return nil
}

// phase reports to the parent what the child is doing, for the message of a timeout.
func (j *job) phase(format string, args ...any) {
	_ = j.out.Encode(message{Phase: fmt.Sprintf(format, args...)})
}

func (j *job) config() *Config { return &j.Config }

func (j *job) url() string { return j.Config.URLs[0] }

func (j *job) run() error {
	var err error
	if j.ep, err = endpoint(j.url()); err != nil {
		return err
	}
	if j.ep.Protocol == "file" {
		return j.runLocal()
	}
	return j.runRemote()
}

// damageError is the error for a stored object that is missing or does not match its
// hash: the cache is then rebuilt.
type damageError struct{ err error }

func (e *damageError) Error() string { return "the stored repository is damaged: " + e.err.Error() }

func (e *damageError) Unwrap() error { return e.err }

func isDamage(err error) bool {
	var d *damageError
	return errors.As(err, &d)
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
