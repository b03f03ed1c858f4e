package web

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
)

// The data of the page. Its texts are clean.
type (
	pageData struct {
		Node       string
		Now        pageTime
		State      pageMark
		StateText  string
		Agent      []pageField
		Notices    []pageNotice
		Revision   []pageField
		Lap        []pageField
		Fleet      []pageField // none: the node belongs to none
		Sources    []pageSource
		Conditions []pageCondition
		Groups     []pageGroup
		Attention  int // entries of the groups that need somebody
		Keys       pageKeys
		Containers pageContainers
		Receipts   pageReceipts
	}
	// pageMark is a word with a colour.
	pageMark struct{ Class, Text string }
	// pageTime is a time as people read it: since or until when.
	pageTime  struct{ ISO, Full, Ago string }
	pageField struct {
		Label, Text string
		Code        bool   // the text is an identifier
		Whole       string // the whole identifier, if the text is the beginning of it
		At          *pageTime
	}
	pageNotice struct {
		pageMark
		Detail string
		Since  *pageTime
	}
	pageSource struct {
		URL             string
		Mark            pageMark
		Error           string
		Worked, RetryAt *pageTime
	}
	pageCondition struct {
		Type, Reason, Message string
		Mark                  pageMark
		Since                 pageTime
		Holds                 bool // somebody should read its message
	}
)

// The colours, as the style sheet names them.
const (
	red    = "red"
	yellow = "yellow"
	green  = "green"
	quiet  = "quiet"
)

// data returns what the page shows.
func (p *Page) data(q query) pageData {
	now, s, o, tables := p.clock(), p.Agent.Status(), p.Agent.Overview(), p.Tables.Report()
	t := newTimes(now)
	ready := s.Condition(nf.Ready)
	d := pageData{
		Node: view.Clean(cmp.Or(s.Node, "this node")), Now: t.of(now), State: readiness(ready), StateText: view.Clean(ready.Message),
		Agent: agentFields(t, s, o), Notices: notices(t, s), Revision: revisionFields(t, s), Lap: lapFields(t, s), Fleet: fleetFields(t, s.Fleet), Sources: sources(t, s), Conditions: conditionRows(t, s),
		Groups: p.groups(t, s), Keys: p.keys(o, tables), Containers: p.containers(t, s, o, tables, q), Receipts: p.receipts.recent(p, t),
	}
	for _, g := range d.Groups {
		if g.Class != quiet {
			d.Attention += g.Count
		}
	}
	return d
}

func readiness(c nf.Condition) pageMark {
	switch c.Status {
	case nf.ConditionTrue:
		return pageMark{green, "ready"}
	case nf.ConditionFalse:
		return pageMark{red, "not ready"}
	}
	return pageMark{quiet, "starting"}
}

func agentFields(t times, s nf.NodeStatus, o apply.Overview) []pageField {
	started := t.of(s.Agent.StartedAt)
	fields := []pageField{{Label: "nfsync", Text: view.Clean(cmp.Or(s.Agent.Version, "unknown version"))}, {Label: "mode", Text: view.Clean(s.Mode)}}
	if o.Kernel != "" {
		fields = append(fields, pageField{Label: "kernel", Text: view.Clean(o.Kernel)})
	}
	return append(fields, pageField{Label: "started", At: &started})
}

// notices are what somebody who looks has to know first: what keeps the agent from making changes, and
// what it does now.
func notices(t times, s nf.NodeStatus) []pageNotice {
	var list []pageNotice
	if x := s.Suspension; x != nil {
		since := t.of(x.Since)
		until := "until nfsync resume"
		if x.Until != nil {
			until = "until " + t.of(*x.Until).Full
		}
		list = append(list, pageNotice{pageMark{yellow, "suspended"}, view.Clean(fmt.Sprintf("%s, by %s: %s. The agent plans and reports, and changes nothing.", until, x.By, x.Reason)), &since})
	}
	if c := s.Condition(nf.Reconciling); c.Status == nf.ConditionTrue && c.Reason == string(agent.ReasonUnconfirmed) {
		since := t.of(c.LastTransitionTime)
		list = append(list, pageNotice{pageMark{yellow, "waits for a confirmation"}, view.Clean(c.Message) + ". nfsync confirm keeps them.", &since})
	}
	if l := s.CurrentLap; l != nil {
		since := t.of(l.StartedAt)
		list = append(list, pageNotice{pageMark{quiet, "a lap runs"}, "after " + view.Clean(strings.Join(l.Causes, ", ")), &since})
	}
	return list
}

func revisionFields(t times, s nf.NodeStatus) []pageField {
	r := s.Revision
	if r == nil {
		return []pageField{{Label: "in force", Text: "nothing"}}
	}
	var fields []pageField
	if r.Commit == "" {
		fields = append(fields, pageField{Label: "in force", Text: "the policies of the directory"})
	}
	if r.Commit != "" {
		fields = append(fields, pageField{Label: "commit", Text: shortCommit(r.Commit), Code: true, Whole: view.Clean(r.Commit)})
	}
	for _, f := range []struct {
		label, text string
		code        bool
	}{{"branch", r.Branch, true}, {"tag", r.Tag, true}, {"signed by", r.Signer, false}} {
		if f.text != "" {
			fields = append(fields, pageField{Label: f.label, Text: view.Clean(f.text), Code: f.code})
		}
	}
	since := t.of(r.Since)
	return append(fields, pageField{Label: "since", At: &since})
}

// shortCommit returns the beginning of a commit, which is enough for people and for git.
func shortCommit(commit string) string { return view.Clean(commit[:min(len(commit), 12)]) }

func lapFields(t times, s nf.NodeStatus) []pageField {
	l := s.LastLap
	if l == nil {
		return []pageField{{Label: "result", Text: "the first lap has not ended"}}
	}
	at := t.of(l.FinishedAt)
	result := string(l.Result)
	if l.Applied > 0 {
		result += ", " + plural(l.Applied, "change")
	}
	fields := []pageField{{Label: "result", Text: result}, {Label: "after", Text: view.Clean(strings.Join(l.Causes, ", "))}, {Label: "ended", At: &at},
		{Label: "took", Text: took(l.FinishedAt.Sub(l.StartedAt))}}
	if l.Error != "" {
		fields = append(fields, pageField{Label: "error", Text: view.Clean(l.Error)})
	}
	for _, n := range s.Next {
		due := t.of(n.At)
		fields = append(fields, pageField{Label: "next", Text: view.Clean(n.Cause), At: &due})
	}
	return fields
}

func fleetFields(t times, f *nf.FleetPlace) []pageField {
	if f == nil {
		return nil
	}
	fields := []pageField{{Label: "channel", Text: view.Clean(f.Channel)}}
	add := func(label, text string, at *time.Time) {
		if text == "" {
			return
		}
		field := pageField{Label: label, Text: view.Clean(text)}
		if at != nil {
			when := t.of(*at)
			field.At = &when
		}
		fields = append(fields, field)
	}
	if f.ConnectedSince != nil {
		add("connected", f.Server, f.ConnectedSince)
	} else {
		add("connected", "no", nil)
	}
	if f.Generation > 0 {
		fields = append(fields, pageField{Label: "roll-out of", Text: shortCommit(f.Revision), Code: true, Whole: view.Clean(f.Revision)})
		add("state", string(f.State), nil)
	}
	add("group", f.Group, nil)
	if p := f.Progress; p != nil {
		add("this node", string(p.State), &p.At)
		add("why", p.Reason, nil)
	}
	if f.BeginsAt != nil {
		add("begins", "at", f.BeginsAt)
	}
	if f.Grant != nil {
		add("may restart", "until", &f.Grant.Until)
	}
	add("error", f.Error, nil)
	return fields
}

func sources(t times, s nf.NodeStatus) []pageSource {
	if len(s.URLs) == 0 {
		return []pageSource{{URL: view.Clean(s.Source)}}
	}
	var list []pageSource
	for _, u := range s.URLs {
		x := pageSource{URL: view.Clean(u.URL), Mark: pageMark{quiet, "not tried"}, Error: view.Clean(u.Error)}
		if u.LastFetch != nil {
			worked := t.of(*u.LastFetch)
			x.Worked, x.Mark = &worked, pageMark{green, "works"}
		}
		if u.Error != "" {
			x.Mark = pageMark{red, "fails"}
		}
		if u.RetryAt != nil {
			retry := t.of(*u.RetryAt)
			x.RetryAt = &retry
		}
		list = append(list, x)
	}
	return list
}

func conditionRows(t times, s nf.NodeStatus) []pageCondition {
	var list []pageCondition
	for _, c := range s.Conditions {
		is := c.Status == nf.ConditionTrue
		mark := pageMark{quiet, "unknown"}
		switch {
		case c.Status == nf.ConditionUnknown:
		case c.Type.IsGood() && is:
			mark = pageMark{green, "true"}
		case c.Type.IsGood():
			mark = pageMark{red, "false"}
		case is && c.Type == nf.Stalled:
			mark = pageMark{red, "true"}
		case is:
			mark = pageMark{yellow, "true"}
		default:
			mark = pageMark{quiet, "false"}
		}
		list = append(list, pageCondition{Type: string(c.Type), Reason: view.Clean(c.Reason), Message: view.Clean(c.Message), Mark: mark, Since: t.of(c.LastTransitionTime),
			Holds: mark.Class == red || mark.Class == yellow})
	}
	return list
}

// times writes times as seen at one time.
type times struct{ now time.Time }

func newTimes(now time.Time) times { return times{now} }

func (t times) of(at time.Time) pageTime {
	at = at.UTC()
	return pageTime{ISO: at.Format(time.RFC3339), Full: at.Format(time.DateTime) + " UTC", Ago: ago(at.Sub(t.now))}
}

// ago returns a time from now in words: "3 min ago", "in 2 h". The script of the page does the same.
func ago(d time.Duration) string {
	text := "now"
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if n := d.Abs() / unit.size; n > 0 {
			text = fmt.Sprintf("%d %s", n, unit.name)
			break
		}
	}
	switch {
	case text == "now":
		return text
	case d > 0:
		return "in " + text
	}
	return text + " ago"
}

// took returns a short time in words.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// plural returns "1 change", "1,234 changes".
func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return grouped(int64(n)) + " " + noun
}

// grouped returns a number with commas between its groups of three digits.
func grouped(n int64) string {
	text := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		sign, text = "-", text[1:]
	}
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return sign + text
}

// noValue is shown for a value that there is not.
const noValue = "–"

// valueText returns a value of a key of a target as people read it.
func valueText(t nf.Target, k nf.Key, v nf.Value) string {
	n, isNumber := v.Number()
	_, isTimeout := k.Timeout()
	switch {
	case v.IsAbsent():
		return noValue
	case v.IsUnknown():
		return "unknown"
	case isNumber && n == 0 && k == nf.KeyMax && t.IsNode():
		return "unlimited"
	case isNumber && !isTimeout:
		return grouped(n)
	}
	return view.Clean(k.Text(v))
}

// wishText returns a wish for a key of a target as people read it.
func wishText(t nf.Target, k nf.Key, w nf.Wish) string {
	if w.IsRange() {
		return w.String()
	}
	return valueText(t, k, w.Value)
}
