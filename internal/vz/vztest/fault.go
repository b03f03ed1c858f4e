package vztest

import "slices"

// Fault is what goes wrong with calls of the programs: with those that the
// first fields choose, as the others say.
type Fault struct {
	Program string // prlctl, vzctl or vzlist; empty is any
	Verb    string // the first argument, such as list, set or start; empty is any
	Arg     string // one that must be among the arguments, such as a CTID; empty is any
	Times   int    // how many calls, from now on; 0 is all

	// Before runs before the program does anything: what somebody else does at
	// that moment. It may call the node's methods.
	Before func()
	// Hang leaves the program without an answer, with a child of its own that
	// holds its output. Both ignore SIGTERM.
	Hang bool
	// Linger lets the program end and leaves a child of it that holds its output.
	Linger bool
	// Skip leaves the work undone; the program then says nothing and exits with
	// 0, if no other field says otherwise.
	Skip bool
	// Exit is the exit status instead of the program's own, if it is not 0.
	Exit int
	// Stdout is printed instead of what the program prints, if not empty, and
	// Stderr beside it.
	Stdout, Stderr string
}

// Misbehave adds a fault. Of several that fit a call the one added last is its.
// The function that it returns ends it.
func (n *Node) Misbehave(f Fault) (end func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	added := &f
	n.faults = append(n.faults, added)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.faults = slices.DeleteFunc(n.faults, func(f *Fault) bool { return f == added })
	}
}

// fault is the one that is a call's; the zero Fault is none.
func (n *Node) fault(program string, args []string) Fault {
	for _, f := range slices.Backward(n.faults) {
		if !f.fits(program, args) {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				n.faults = slices.DeleteFunc(n.faults, func(o *Fault) bool { return o == f })
			}
		}
		return *f
	}
	return Fault{}
}

func (f *Fault) fits(program string, args []string) bool {
	return (f.Program == "" || f.Program == program) &&
		(f.Verb == "" || len(args) > 0 && args[0] == f.Verb) &&
		(f.Arg == "" || slices.Contains(args, f.Arg))
}

// spoil is what the program says instead of its own answer.
func (f *Fault) spoil(r reply) reply {
	r.Linger = f.Linger
	if f.Exit != 0 {
		r.Exit = f.Exit
	}
	if f.Stdout != "" {
		r.Stdout = f.Stdout
	}
	r.Stderr += f.Stderr
	return r
}

// StopDispatcher stops prl-disp.service: no prlctl works, whatever its verb,
// and vzctl and vzlist do, which need it not.
func (n *Node) StopDispatcher() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
}

// StartDispatcher starts it again.
func (n *Node) StartDispatcher() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = false
}
