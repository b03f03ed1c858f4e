package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
)

func TestExitCode(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want int
	}{
		{"nothing", nil, 0},
		{"any error", errors.New("x"), 1},
		{"usage", usageError{errors.New("x")}, 1},
		{"locked", fmt.Errorf("x: %w", apply.ErrLocked), 1},
		{"changes", outcome(exitChanges), 2},
		{"refused", outcome(exitRefused), 3},
		{"invalid", outcome(exitInvalid), 4},
		{"undone", fmt.Errorf("x: %w", outcome(exitUndone)), 5},
		{"invalid revision", fmt.Errorf("x: %w", &agent.InvalidError{}), 4},
		{"stuck outcome", outcome(exitStuck), 6},
		{"stopped, and something stuck", errors.Join(errors.New("stopped"), outcome(exitStuck)), 6},
		{"stale", fmt.Errorf("x: %w", apply.ErrStale), 7},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%s: exit code %d, want %d", test.name, got, test.want)
		}
	}
}

func TestVerdictCode(t *testing.T) {
	for v, want := range map[apply.Verdict]int{apply.Clean: 0, apply.Incomplete: 3, apply.RolledBack: 5, apply.Unsettled: 6, "another": 1} {
		if got := verdictCode(v); got != want {
			t.Errorf("%s: exit code %d, want %d", v, got, want)
		}
	}
}

// Of several exit codes the most severe counts: 6 1 4 5 7 3 2 0.
func TestSeverest(t *testing.T) {
	order := []int{6, 1, 4, 5, 7, 3, 2, 0}
	for i, worse := range order {
		for _, better := range order[i:] {
			if got := severest(better, worse); got != worse {
				t.Errorf("of %d and %d %d counts", worse, better, got)
			}
			if got := severest(worse, better); got != worse {
				t.Errorf("of %d and %d %d counts", worse, better, got)
			}
		}
	}
	if got := severest(); got != 0 {
		t.Errorf("of nothing %d counts", got)
	}
}

func TestFinish(t *testing.T) {
	full := fmt.Errorf("cannot write: %w", syscall.ENOSPC)
	gone := fmt.Errorf("cannot write: %w", &os.PathError{Op: "write", Err: syscall.EPIPE})
	for _, test := range []struct {
		name    string
		code    int
		written error
		want    int
	}{
		{"well", exitOK, nil, 0},
		{"refused", exitRefused, nil, 3},
		{"the reader went away", exitRefused, gone, 3},
		{"the reader went away, all well", exitOK, gone, 0},
		{"the disk is full", exitOK, full, 1},
		{"the disk is full, which weighs more than a refusal", exitRefused, full, 1},
		{"nothing weighs more than a person's being needed", exitStuck, full, 6},
	} {
		if got := exitCode(finish(test.code, test.written)); got != test.want {
			t.Errorf("%s: exit code %d, want %d", test.name, got, test.want)
		}
	}
}
