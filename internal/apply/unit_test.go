package apply

import (
	"errors"
	"testing"
)

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
