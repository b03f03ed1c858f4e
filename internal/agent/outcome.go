package agent

import (
	"cmp"
	"fmt"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// outcome returns what a lap has made of the revision that it has enforced, for the fleet, and why.
func outcome(res Result, err, before error) (nf.ProgressState, string) {
	receipt := res.Receipt
	switch verdict := receipt.Verdict(); {
	case verdict == apply.Unsettled:
		return nf.ProgressStuck, whyStuck(receipt)
	case verdict == apply.RolledBack, err != nil:
		return nf.ProgressFailed, cmp.Or(whyFailed(receipt), text(err, "changes could not be made"))
	case before != nil:
		return nf.ProgressFailed, before.Error()
	case res.Plan != nil:
		return nf.ProgressUnaffected, "the mode is observe: it only plans"
	case verdict == apply.Incomplete:
		return nf.ProgressRefused, whyRefused(receipt)
	}
	return nf.ProgressApplied, ""
}

func whyStuck(r apply.Receipt) string {
	for _, s := range r.Stuck {
		return fmt.Sprintf("%s %s could be neither made nor undone: %s%s", s.Target, s.Key, s.Why, andMore(len(r.Stuck)))
	}
	return "a change could be neither made nor undone"
}

func whyFailed(r apply.Receipt) string {
	first, failed := "", 0
	for _, result := range r.Results {
		if result.Outcome != apply.Failed {
			continue
		}
		if failed++; failed == 1 {
			first = fmt.Sprintf("%s %s could not be changed: %s", result.Target, result.Key, result.Error)
		}
	}
	if failed == 0 {
		return ""
	}
	return first + andMore(failed)
}

func whyRefused(r apply.Receipt) string {
	for _, x := range r.Refusals {
		return fmt.Sprintf("%s %s is refused: %s (%s)%s", x.Target, x.Key, x.Reason, x.Code, andMore(len(r.Refusals)))
	}
	return "a change was refused"
}

// andMore says that there are others of a list whose first entry was named.
func andMore(all int) string {
	if all < 2 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", all-1)
}
