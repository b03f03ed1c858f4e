package web

import (
	"fmt"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
)

// maxEntries is how many entries of a group are shown.
const maxEntries = 30

type (
	// pageGroup are entries of one kind.
	pageGroup struct {
		ID, Title, About, Class string
		Count, More             int
		Entries                 []pageEntry
	}
	pageEntry struct {
		Mark                      pageMark
		Place, Container          string // Container is what the filter finds it by; empty for the node
		Key, Layer, From, To, Why string
		Policy                    string
		At                        *pageTime
		AtLabel                   string
		Notes                     []pageNote
		Chart                     *pageChart
	}
	pageNote struct{ Label, Text string }
)

// newEntry returns an entry about a target.
func newEntry(mark pageMark, target nf.Target) pageEntry {
	return pageEntry{Mark: mark, Place: view.Clean(target.String()), Container: target.ID}
}

// differs adds the key and what it differs by.
func (e *pageEntry) differs(target nf.Target, key nf.Key, layer nf.Layer, from, to nf.Value) {
	e.Key, e.From, e.To = view.Clean(string(key)), valueText(target, key, from), valueText(target, key, to)
	if layer == nf.LayerBoot {
		e.Layer = string(layer)
	}
	e.note("unreadable", from.Why())
}

func (e *pageEntry) note(label, text string) {
	if text != "" {
		e.Notes = append(e.Notes, pageNote{label, view.Clean(text)})
	}
}

func (e *pageEntry) by(s nf.Source) { e.Policy = policyText(s) }

// policyText names a policy and its line.
func policyText(s nf.Source) string {
	if s.File == "" {
		return view.Clean(s.Name)
	}
	return view.Clean(strings.TrimSpace(s.Name + " " + s.String()))
}

// newGroup returns the entries of a list. It has none if the list is empty.
func newGroup[E any](g pageGroup, list []E, of func(E) pageEntry) pageGroup {
	g.Count, g.More = len(list), max(len(list)-maxEntries, 0)
	for _, e := range list[:len(list)-g.More] {
		g.Entries = append(g.Entries, of(e))
	}
	return g
}

// groups returns what needs somebody, the most urgent first, and then the warnings.
func (p *Page) groups(t times, s nf.NodeStatus) []pageGroup {
	var filling []nf.Target
	for _, f := range s.Tables {
		filling = append(filling, f.Target)
	}
	days := p.Tables.Days(filling)
	restarts, starts := restartsOf(s.Pending)
	list := []pageGroup{
		newGroup(pageGroup{ID: "stuck", Title: "Stuck", Class: red, About: "could be neither made nor undone: nfsync recover"}, s.Stuck, stuckEntry),
		newGroup(pageGroup{ID: "errors", Title: "Errors in files", Class: red, About: "of policies or a configuration that is not in force"}, s.Errors, errorEntry),
		newGroup(pageGroup{ID: "refused", Title: "Refused", Class: red, About: "differences that cannot be closed now"}, s.Refusals, refusalEntry),
		newGroup(pageGroup{ID: "tables", Title: "Conntrack tables that fill", Class: yellow, About: "a full table drops new connections"}, s.Tables,
			func(f nf.FillingTable) pageEntry { return tableEntry(t, f, days) }),
		newGroup(pageGroup{ID: "fights", Title: "Left alone", Class: red, About: "something else changes them back: until the policy changes, or nfsync sync"}, s.Fights,
			func(f nf.Fight) pageEntry { return fightEntry(t, f) }),
		newGroup(pageGroup{ID: "changes", Title: "Not made", Class: yellow, About: "changes that were found"}, notFought(s), changeEntry),
		newGroup(pageGroup{ID: "restarts", Title: "Waits for a restart", Class: yellow, About: "saved for the next start"}, restarts, pendingEntry),
		newGroup(pageGroup{ID: "pending", Title: "Pending", Class: quiet, About: "comes by itself"}, starts, pendingEntry),
		newGroup(pageGroup{ID: "warnings", Title: "Warnings", Class: quiet, About: "they forbid nothing"}, s.Warnings, warningEntry),
	}
	return slices.DeleteFunc(list, func(g pageGroup) bool { return g.Count == 0 })
}

// restartsOf divides what is pending into what waits for a restart, and the rest.
func restartsOf(list []nf.Pending) (restarts, others []nf.Pending) {
	for _, p := range list {
		if isRestart(p.Until) {
			restarts = append(restarts, p)
		} else {
			others = append(others, p)
		}
	}
	return restarts, others
}

func isRestart(u nf.Until) bool { return u == nf.UntilContainerRestart || u == nf.UntilNodeRestart }

// notFought returns the changes that were not made, without those that were left to a fight.
func notFought(s nf.NodeStatus) []nf.Change {
	return slices.DeleteFunc(slices.Clone(s.Changes), func(c nf.Change) bool {
		return slices.ContainsFunc(s.Fights, func(f nf.Fight) bool { return f.Target == c.Target && f.Key == c.Key && f.Layer == c.Layer })
	})
}

func stuckEntry(x nf.StuckChange) pageEntry {
	e := newEntry(pageMark{red, "stuck"}, x.Target)
	e.differs(x.Target, x.Key, x.Layer, x.From, x.To)
	e.note("reads", valueText(x.Target, x.Key, x.Reads))
	e.note("why", x.Why)
	e.note("receipt", x.Run)
	return e
}

func errorEntry(line string) pageEntry {
	return pageEntry{Mark: pageMark{red, "invalid"}, Why: view.Clean(line)}
}

func refusalEntry(r nf.Refusal) pageEntry {
	e := newEntry(pageMark{red, view.Clean(string(r.Code))}, r.Target)
	e.differs(r.Target, r.Key, r.Layer, r.From, r.To)
	e.by(r.Source)
	e.note("why", r.Reason)
	e.note("remedy", r.Remedy)
	e.note("until", view.UntilText(r.Until))
	return e
}

func tableEntry(t times, f nf.FillingTable, days map[nf.Target]agent.Day) pageEntry {
	mark := pageMark{yellow, "fills"}
	if f.Full {
		mark = pageMark{red, "full"}
	}
	e := newEntry(mark, f.Target)
	e.Why = fmt.Sprintf("%s of %s entries, %d %%", grouped(f.Count), grouped(f.Max), percent(f.Count, f.Max))
	if f.FullAt != nil {
		at := t.of(*f.FullAt)
		e.At, e.AtLabel = &at, "full at this rate"
		if f.Full {
			e.AtLabel = "full since"
		}
	}
	e.note("lost", f.Losses())
	if day, ok := days[f.Target]; ok {
		e.Chart = newChart(day, f, t.now)
	}
	return e
}

func fightEntry(t times, f nf.Fight) pageEntry {
	e := newEntry(pageMark{red, "left alone"}, f.Target)
	e.differs(f.Target, f.Key, f.Layer, f.From, f.To)
	since := t.of(f.Since)
	e.At, e.AtLabel = &since, fmt.Sprintf("changed back %d times within an hour, left", f.Flips)
	for _, w := range f.SetBy {
		text := "perhaps " + w.Where
		switch {
		case w.Value == f.From:
			text = "probably " + w.Where
		case w.Value.IsUnknown():
			text += ": " + w.Value.Why()
		default:
			text += ", which says " + valueText(f.Target, f.Key, w.Value)
		}
		e.note("set by", text)
	}
	return e
}

func changeEntry(c nf.Change) pageEntry {
	mark := pageMark{yellow, "not made"}
	if c.LastFailure != nil {
		mark = pageMark{red, "failed"}
	}
	e := newEntry(mark, c.Target)
	e.differs(c.Target, c.Key, c.Layer, c.From, c.To)
	e.by(c.Source)
	if f := c.LastFailure; f != nil {
		e.note("failed", f.Why)
	}
	e.note("cause", string(c.Cause))
	return e
}

func pendingEntry(x nf.Pending) pageEntry {
	mark := pageMark{quiet, "pending"}
	if isRestart(x.Until) {
		mark = pageMark{yellow, "restart"}
	}
	e := newEntry(mark, x.Target)
	e.differs(x.Target, x.Key, nf.LayerLive, x.From, x.To)
	e.by(x.Source)
	e.note("why", x.Reason)
	e.note("until", view.UntilText(x.Until))
	return e
}

func warningEntry(w nf.Warning) pageEntry {
	e := newEntry(pageMark{quiet, view.Clean(w.Code)}, w.Target)
	e.Key, e.Why = view.Clean(string(w.Key)), view.Clean(w.Message)
	if w.Source != nil {
		e.by(*w.Source)
	}
	return e
}

// percent returns how much of a limit a number is; 0 without a limit.
func percent(n, limit int64) int64 {
	if limit <= 0 {
		return 0
	}
	return n * 100 / limit
}
