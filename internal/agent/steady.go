package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"regexp"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// digest returns a digest of what a node is, as it is published below a path. It does not cover what
// changes while the node stays the same: times, counters, and the numbers in texts.
func digest(path string, s nf.Snapshot, status nf.NodeStatus) (string, error) {
	h := sha256.New()
	err := addTo(h, path, statusDigest(status))
	containers := s.Containers
	s.Containers = nil
	s.TakenAt = time.Time{}
	s.Warnings = steadyWarnings(s.Warnings)
	s.Modules.List = mapped(s.Modules.List, steadyModule)
	steadyMemory(&s.Memory)
	steadyNamespace(&s.Host)
	for i := 0; i <= len(containers) && err == nil; i++ { // one by one: a node may have many
		if i == len(containers) {
			err = addTo(h, s)
			break
		}
		c := containers[i]
		c.Unobservable, c.LabelsUnknown = steadyText(c.Unobservable), steadyText(c.LabelsUnknown)
		steadyNamespace(&c.Namespace)
		err = addTo(h, c)
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

// addTo adds documents to a digest.
func addTo(h hash.Hash, documents ...any) error {
	e := json.NewEncoder(h)
	for _, d := range documents {
		if err := e.Encode(d); err != nil {
			return err
		}
	}
	return nil
}

// statusDigest returns the digest of a status.
func statusDigest(s nf.NodeStatus) string {
	s = withoutPublished(s)
	s.UpdatedAt, s.CurrentLap, s.LastLap, s.LastSuccess, s.Next = time.Time{}, nil, nil, nil, nil
	s.Agent.PID, s.Agent.StartedAt, s.Fleet = 0, time.Time{}, nil
	if s.Revision != nil {
		revision := *s.Revision
		revision.Since = time.Time{}
		s.Revision = &revision
	}
	s.URLs = mapped(s.URLs, func(u nf.SourceURL) nf.SourceURL {
		return nf.SourceURL{URL: u.URL, Error: steadyText(u.Error)}
	})
	s.Conditions = mapped(s.Conditions, func(c nf.Condition) nf.Condition {
		c.LastTransitionTime, c.Message = time.Time{}, steadyText(c.Message)
		if c.Type == nf.TableFilling { // the tables follow; at first none is read
			return nf.Condition{Type: c.Type}
		}
		return c
	})
	s.Changes = mapped(s.Changes, func(c nf.Change) nf.Change {
		c.LastFailure = nil
		return c
	})
	s.Refusals = mapped(s.Refusals, func(r nf.Refusal) nf.Refusal {
		r.Reason, r.Remedy = steadyText(r.Reason), steadyText(r.Remedy)
		return r
	})
	s.Pending = mapped(s.Pending, func(p nf.Pending) nf.Pending {
		p.Reason = steadyText(p.Reason)
		return p
	})
	s.Fights = mapped(s.Fights, func(f nf.Fight) nf.Fight {
		f.Flips, f.Since, f.SetBy = 0, time.Time{}, nil
		return f
	})
	s.Warnings = steadyWarnings(s.Warnings)
	s.Tables = mapped(s.Tables, func(t nf.FillingTable) nf.FillingTable {
		return nf.FillingTable{Target: t.Target, Full: t.Full}
	})
	slices.SortFunc(s.Tables, func(a, b nf.FillingTable) int { return a.Target.Compare(b.Target) })
	h := sha256.New()
	if err := addTo(h, s); err != nil {
		return err.Error() // no status is like that
	}
	return hex.EncodeToString(h.Sum(nil))
}

func mapped[E any](list []E, f func(E) E) []E {
	list = slices.Clone(list)
	for i := range list {
		list[i] = f(list[i])
	}
	return list
}

func steadyWarnings(list []nf.Warning) []nf.Warning {
	return mapped(list, func(w nf.Warning) nf.Warning {
		w.Message = steadyText(w.Message)
		return w
	})
}

// steadyModule takes the values of read-only parameters out of a module: some count what the module does.
func steadyModule(m nf.ModuleFact) nf.ModuleFact {
	parameters := map[string]nf.Parameter{}
	for name, p := range m.Parameters {
		if !p.Writable {
			p.Value = ""
		}
		parameters[name] = p
	}
	m.Parameters = parameters
	return m
}

func steadyMemory(m *nf.Memory) {
	m.Latches = mapped(m.Latches, func(l nf.Latch) nf.Latch {
		l.Evidence = steadyText(l.Evidence)
		return l
	})
	m.Failures = mapped(m.Failures, func(f nf.Failure) nf.Failure {
		f.At, f.Why, f.Receipt = time.Time{}, steadyText(f.Why), ""
		return f
	})
}

// steadyNamespace takes out of a namespace what it counts: its entries, and its rules, of which only
// matters whether there are any and what they use.
func steadyNamespace(n *nf.Namespace) {
	n.Count = nf.Value{}
	if n.Tracking != nil {
		n.Tracking = &nf.Tracking{State: n.Tracking.State, Evidence: steadyText(n.Tracking.Evidence)}
	}
	n.Facts = mapped(n.Facts, func(f nf.Fact) nf.Fact {
		if f.Live.IsUnknown() {
			f.Live = nf.Unknown(steadyText(f.Live.Why()))
		}
		return f
	})
	if n.Rules == nil {
		return
	}
	rules := *n.Rules
	rules.Unknown = steadyText(rules.Unknown)
	rules.Tables = mapped(rules.Tables, func(t nf.Table) nf.Table {
		t.Rules, t.MoreGuards = min(t.Rules, 1), min(t.MoreGuards, 1)
		t.Uses = mapped(t.Uses, func(u nf.Use) nf.Use {
			u.Count = min(u.Count, 1)
			return u
		})
		more := map[nf.Level]int{}
		for level := range t.MoreUses {
			more[level] = 1
		}
		t.MoreUses = more
		return t
	})
	n.Rules = &rules
}

// numbers are the numbers of a text that are not parts of names: ports, counts and durations.
var numbers = regexp.MustCompile(`(^|[^\pL\pN_./-])[0-9][0-9.]*`)

// steadyText returns a text without its numbers, which differ from one time to the next.
func steadyText(text string) string { return numbers.ReplaceAllString(text, "$1") }
