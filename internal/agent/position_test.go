package agent_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/state"
)

// A position is found whatever secrets the URL held under which it was saved.
func TestPositionWithSecrets(t *testing.T) {
	b := newBench(t)
	b.repo.onFetch = func() {
		if err := b.state.SavePosition(state.Position{URL: strings.Replace(url, "://", "://s3cret@", 1), Branch: branch, Commit: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := agent.Lap(context.Background(), b.in); !errors.Is(err, agent.ErrOvertaken) {
		t.Errorf("the error is %v", err)
	}
}
