package apply

import (
	"errors"
	"fmt"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// A target that is gone is reported with the reason of the error, if it has one.
func TestWhyGone(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nf.ErrGone, goneReason},
		{fmt.Errorf("container 101 has no configuration: %w", nf.ErrGone), goneReason + ": container 101 has no configuration"},
	} {
		if got := whyGone(c.err); got != c.want {
			t.Errorf("%v gives %q, want %q", c.err, got, c.want)
		}
	}
}

// TestErrorsOnce: what fails in the same way twice is said once.
func TestErrorsOnce(t *testing.T) {
	for _, c := range []struct {
		errs []string
		want string
	}{
		{[]string{"read-only"}, "read-only"},
		{[]string{"read-only", "cannot undo it: busy"}, "read-only; cannot undo it: busy"},
		{[]string{"cannot write f: EIO", "cannot undo it: cannot write f: EIO"}, "cannot undo it: cannot write f: EIO"},
		{[]string{"cannot write f: EIO", "cannot undo it: cannot write f: EIO", "cannot write f: EIO"}, "cannot undo it: cannot write f: EIO"},
	} {
		var a attempt
		for _, text := range c.errs {
			a.end(Stuck, errors.New(text), "")
		}
		if a.result.Error != c.want {
			t.Errorf("%q gives %q, want %q", c.errs, a.result.Error, c.want)
		}
	}
}
