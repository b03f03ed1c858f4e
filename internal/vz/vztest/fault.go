package vztest

import "slices"

// Fault makes calls of the programs go wrong. Program, Verb, Arg and Times select the calls;
// the other fields say what goes wrong.
type Fault struct {
	Program string // prlctl, vzctl or vzlist; empty: any
	Verb    string // the first argument, such as list, set or start; empty: any
	Arg     string // one of the arguments, such as a CTID; empty: any
	Times   int    // the number of calls, from now on; 0: all

	// Before runs before the program does anything, for what somebody else does at that
	// moment. It may call the methods of the node.
	Before func()
	// Hang makes the program hang, with a child that holds its output open. Both ignore
	// SIGTERM.
	Hang bool
	// Linger makes the program end and leave a child that holds its output open.
	Linger bool
	// Skip makes the program do nothing. It prints nothing and exits with 0, unless other
	// fields differ.
	Skip bool
	// Exit replaces the exit status of the program, unless it is 0.
	Exit int
	// Stdout replaces the output of the program, unless it is empty. Stderr is added to its
	// standard error.
	Stdout, Stderr string
}

// Misbehave adds a fault and returns a function that removes it. If several faults select a
// call, the one that was added last applies.
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

// fault returns the fault of a call; the zero Fault if there is none.
func (n *Node) fault(program string, args []string) Fault {
	for _, f := range slices.Backward(n.faults) {
		if !f.selects(program, args) {
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

func (f *Fault) selects(program string, args []string) bool {
	return (f.Program == "" || f.Program == program) &&
		(f.Verb == "" || len(args) > 0 && args[0] == f.Verb) &&
		(f.Arg == "" || slices.Contains(args, f.Arg))
}

// apply returns the reply of a program with the fault applied.
func (f *Fault) apply(r reply) reply {
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

// StopDispatcher stops prl-disp.service. prlctl then fails for every verb; vzctl and vzlist do
// not need it.
func (n *Node) StopDispatcher() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dispatcherDown = true
}

// StartDispatcher starts prl-disp.service again.
func (n *Node) StartDispatcher() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dispatcherDown = false
}
