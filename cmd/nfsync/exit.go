package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"syscall"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
)

// The exit codes. They are a contract with scripts and CI jobs.
const (
	exitOK      = 0 // in sync, or changes planned or applied, nothing refused
	exitError   = 1 // nothing could be planned or started, or only the last good revision could be enforced
	exitChanges = 2 // changes planned, with plan --detailed-exitcode, or agent --once that only observes
	exitRefused = 3 // something was refused; the rest, where asked, was applied. Of a fleet: its roll-out is halted
	exitInvalid = 4 // the policies are invalid: nothing of them was applied
	exitUndone  = 5 // an apply failed and was rolled back, for one target at least
	exitStuck   = 6 // an apply failed and could not be rolled back, now or earlier
	exitStale   = 7 // the saved plan is stale: nothing was applied
)

// exitTexts explain the exit codes, in their order.
var exitTexts = []view.Sense{
	exitOK: {Meaning: "In sync, or changes planned or applied, and nothing refused.",
		Cause: "Everything that was asked could be done.", Remedy: "none needed"},
	exitError: {Meaning: "An error: nothing could be planned or started, or only the last good revision could be enforced.",
		Cause: "A file, a repository, a flag, the node, or a test of policies that fails; the message on standard error says which.", Remedy: "mend what the message names; nfsync doctor checks what nfsync needs"},
	exitChanges: {Meaning: "Changes are planned. Only plan --detailed-exitcode ends with it, and agent --once with mode: observe; pending entries do not count.",
		Cause: "The node is not as the policies want it.", Remedy: "nfsync apply makes the changes"},
	exitRefused: {Meaning: "Something was refused; the rest was planned or applied. Of fleet status and fleet rollout: the roll-out is halted.",
		Cause: "A rule forbids a change on this node now. In validate, two policies want different things of one value. In a fleet, too many nodes have failed, or a person has halted the roll-out.", Remedy: "see the refusal's remedy, or nfsync explain CODE; nfsync fleet rollout says why a roll-out is halted"},
	exitInvalid: {Meaning: "The policies are invalid: nothing of them was applied.",
		Cause: "An error in one of the files. The agent leaves the last good revision in force.", Remedy: "mend the errors; nfsync validate shows them, nfsync explain RULE explains them"},
	exitUndone: {Meaning: "An apply failed and was rolled back, for one target at least.",
		Cause: "The kernel or a program refused a change, or something else wrote the same value.", Remedy: "see the error in the receipt; the next apply tries again"},
	exitStuck: {Meaning: "A change could be neither made nor undone, now or in an earlier apply: nothing more of its target is changed.",
		Cause: "Making it failed, and undoing it failed too.", Remedy: "nfsync recover shows it; set it right by hand, then nfsync recover --accept"},
	exitStale: {Meaning: "The saved plan is stale: nothing was applied.",
		Cause: "The node or the policies have changed since the plan was made, or its file was edited.", Remedy: "make a new plan with nfsync plan --out FILE, and review it"},
}

// explainedExits explains the exit codes.
func explainedExits() []view.Explanation {
	var list []view.Explanation
	for code, s := range exitTexts {
		s.Topic = view.TopicExitCode
		list = append(list, view.Explanation{Word: strconv.Itoa(code), Sense: s})
	}
	return list
}

// outcome is an exit code other than zero whose reason is in the output already.
type outcome int

func (o outcome) Error() string { return fmt.Sprintf("exit code %d", int(o)) }

// usageError is a command line that nfsync does not understand.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// hinted is an error with a hint what to do.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

// exitCode returns the exit code of an error.
func exitCode(err error) int {
	var (
		o       outcome
		invalid *agent.InvalidError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, apply.ErrStale):
		return exitStale
	case errors.As(err, &o):
		return int(o)
	case errors.As(err, &invalid):
		return exitInvalid
	}
	return exitError
}

// verdictCodes are the exit codes of the verdicts on a run.
var verdictCodes = map[apply.Verdict]int{
	apply.Clean:      exitOK,
	apply.Incomplete: exitRefused,
	apply.RolledBack: exitUndone,
	apply.Unsettled:  exitStuck,
}

// verdictCode returns the exit code of a verdict; one that has none is an error.
func verdictCode(v apply.Verdict) int {
	if code, known := verdictCodes[v]; known {
		return code
	}
	return exitError
}

// planCode returns the exit code of a plan. detailed makes changes one.
func planCode(p nf.Plan, detailed bool) int {
	switch {
	case len(p.Stuck) > 0:
		return exitStuck
	case p.Summary.Refusals > 0:
		return exitRefused
	case detailed && p.Summary.Changes > 0:
		return exitChanges
	}
	return exitOK
}

// severest returns the most severe of several exit codes.
func severest(codes ...int) int {
	for _, c := range []int{exitStuck, exitError, exitInvalid, exitUndone, exitStale, exitRefused, exitChanges} {
		if slices.Contains(codes, c) {
			return c
		}
	}
	return exitOK
}

// finish returns the error with which a verb ends: the code of its result or, if
// that could not be written, why. It is no error that the reader has closed the
// pipe. exitStuck is returned in any case.
func finish(code int, written error) error {
	if written != nil && !errors.Is(written, syscall.EPIPE) && code != exitStuck {
		return written
	}
	if code == exitOK {
		return nil
	}
	return outcome(code)
}

// hintFor returns the command that helps against an error, or nothing.
func hintFor(err error, command string) string {
	var (
		h     hinted
		usage usageError
	)
	switch {
	case errors.As(err, &h):
		return h.hint
	case errors.As(err, &usage):
		return "see '" + command + " --help'"
	case errors.Is(err, apply.ErrStale):
		return "nothing was applied: make a new plan with nfsync plan --out FILE PATH"
	case errors.Is(err, apply.ErrUnconfirmed):
		return "nfsync confirm keeps them"
	case errors.Is(err, apply.ErrLocked):
		return "wait for it to end; nfsync doctor shows who holds the lock"
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() == 0:
		return "root is refused as well: an immutable file (lsattr(1)), the mount, or a security module; see nfsync doctor"
	case errors.Is(err, fs.ErrPermission):
		return "run it as root, or see nfsync doctor"
	}
	return ""
}
