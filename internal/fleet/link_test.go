package fleet

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
)

// TestRefusedByOne: that one server refuses the credentials is not hidden by another one that does not answer.
func TestRefusedByOne(t *testing.T) {
	t.Parallel()
	l := newLink()
	silent := errors.New("connection refused")
	for _, step := range []struct{ is, want error }{
		{silent, silent},
		{nats.ErrAuthorization, nats.ErrAuthorization},
		{silent, nats.ErrAuthorization},
		{nats.ErrAuthExpired, nats.ErrAuthExpired},
	} {
		l.failed(step.is)
		if got := l.get().Err; !errors.Is(got, step.want) {
			t.Errorf("after %q it is %q, not %q", step.is, got, step.want)
		}
	}
	l.disconnected(nil)
	if IsNotPermitted(l.get().Err) {
		t.Errorf("after a connection it is %v", l.get().Err)
	}
}
