package coordinator

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// The data of the page.
type (
	pageData struct {
		Channel, Name, Role, Link string
		State                     mark
		Now                       moment
		Read                      *moment // nil: never
		Problems                  []string
		Rollout                   *rolloutData // nil: there is none
		Branch                    branchData
		Revisions, Conditions     []countData
		SilentTotal, SilentMore   int
		Silent                    []string
		Nodes                     nodesData
	}
	mark       struct{ Class, Text string }
	moment     struct{ ISO, Full, Ago string }
	countData  struct{ Name, Count string }
	branchData struct {
		URL, Name, Commit, Signer, Problem string
		At                                 *moment // nil: never
	}
	rolloutData struct {
		Revision, Previous, State, Reason, Waits, Next, Step, By string
		Generation, Term                                         uint64
		At                                                       moment
		Withdrawn, Columns                                       []string
		Groups                                                   []groupData
		Failed                                                   []nameData
		FailedTotal, FailedMore                                  int
		History                                                  []recordData
	}
	groupData struct {
		Name, Fraction string
		Nodes          int
		Counts         []countData
	}
	nameData   struct{ Name, Text string }
	recordData struct {
		At   moment
		What string
	}
	nodesData struct {
		Query                     string
		Total, Found, First, Last int
		Rows                      []nodeData
		Previous, Next            string
	}
	nodeData struct {
		Name, Revision, Reason, Group, Message string
		Heard                                  moment
		Silent                                 *mark // nil: it is not
		Progress                               mark
	}
)

// The most entries of lists on the page, and the most bytes of a text that a node has put.
const (
	maxListed = 20
	perPage   = 50
	maxText   = 300
)

// pageQuery is what a visitor asks for.
type pageQuery struct {
	words string
	page  int // from 0
}

func queryOf(values url.Values) pageQuery {
	page, err := strconv.Atoi(values.Get("page"))
	if err != nil || page < 1 {
		page = 1
	}
	return pageQuery{shorten(values.Get("q"), maxText), page - 1}
}

// pageOf makes the data of the page.
func pageOf(v View, q pageQuery) pageData {
	now := v.Now
	d := pageData{
		Channel: v.Channel, Name: v.Name, Now: momentOf(now, now), Problems: v.Problems, Link: v.Server,
		Branch: branchData{URL: v.Branch.URL, Name: v.Branch.Branch, Commit: v.Branch.Commit, Signer: shorten(v.Branch.Signer, maxText), Problem: textOf(v.Branch.Err)},
	}
	d.State = mark{"quiet", "no roll-out"}
	if v.Document != nil {
		d.State = mark{classOf(v.Document.State), string(v.Document.State)}
		r := rolloutOf(*v.Document, v.Nodes, now)
		d.Rollout = &r
	}
	switch {
	case v.Lease:
		d.Role = "at work"
	case v.Holder != "":
		d.Role = "waiting: " + v.Holder + " is at work"
	default:
		d.Role = "waiting"
	}
	if !v.Connected {
		d.Link = "cannot be reached"
	}
	d.Read, d.Branch.At = maybeMoment(v.Read, now), maybeMoment(v.Branch.At, now)
	for _, r := range byRevision(v.Nodes) {
		if r.Nodes > 0 {
			d.Revisions = append(d.Revisions, countData{r.Revision, strconv.Itoa(r.Nodes)})
		}
	}
	conditions := byCondition(v.Nodes)
	for _, t := range slices.Sorted(maps.Keys(conditions)) {
		d.Conditions = append(d.Conditions, countData{string(t), strconv.Itoa(conditions[t])})
	}
	silent := rollout.Silent(v.Nodes, now)
	d.silent(silent)
	d.Nodes = nodesOf(v, q, silent, now)
	return d
}

func (d *pageData) silent(names []string) {
	d.SilentTotal, d.Silent, d.SilentMore = len(names), names[:min(maxListed, len(names))], max(0, len(names)-maxListed)
}

func classOf(s nf.RolloutState) string {
	switch s {
	case nf.RolloutHalted, nf.RolloutAborted:
		return "red"
	case nf.RolloutPaused:
		return "yellow"
	case nf.RolloutDone:
		return "green"
	}
	return "quiet"
}

func momentOf(t, now time.Time) moment {
	return moment{ISO: t.UTC().Format(time.RFC3339), Full: nf.Clock(t), Ago: ago(now.Sub(t))}
}

func maybeMoment(t, now time.Time) *moment {
	if t.IsZero() {
		return nil
	}
	m := momentOf(t, now)
	return &m
}

// ago says how long ago something was.
func ago(d time.Duration) string {
	switch {
	case d < 2*time.Second:
		return "now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// rolloutOf makes the data of the roll-out.
func rolloutOf(doc nf.RolloutDocument, nodes []nf.HeardNode, now time.Time) rolloutData {
	waits, next := rollout.Why(doc, nodes, now)
	d := rolloutData{
		Revision: doc.Revision, Previous: doc.Previous, State: string(doc.State), Reason: doc.Reason, Waits: waits, Next: next, By: doc.Coordinator,
		Generation: doc.Generation, Term: doc.Term, At: momentOf(doc.UpdatedAt, now), Withdrawn: doc.Withdrawn, Step: stepOf(doc),
	}
	all, groups := rollout.Count(doc, nodes, now)
	for _, n := range named(all) {
		d.Columns = append(d.Columns, n.name)
	}
	for i, g := range doc.Groups {
		row := groupData{Name: g.Name, Fraction: nf.Percent(g.Fraction), Nodes: groups[i].Nodes}
		for _, n := range named(groups[i]) {
			row.Counts = append(row.Counts, countData{n.name, strconv.Itoa(n.count)})
		}
		d.Groups = append(d.Groups, row)
	}
	failed := rollout.Failed(doc, nodes, now)
	d.FailedTotal, d.FailedMore = len(failed), max(0, len(failed)-maxListed)
	for _, f := range failed[:min(maxListed, len(failed))] {
		d.Failed = append(d.Failed, nameData{f.Node, shorten(f.Reason, maxText)})
	}
	for _, r := range slices.Backward(doc.History) {
		d.History = append(d.History, recordData{momentOf(r.At, now), r.What})
	}
	return d
}

// stepOf says which step a roll-out is in.
func stepOf(doc nf.RolloutDocument) string {
	steps := doc.Plan.StepNames()
	if doc.Step < 0 || doc.Step >= len(steps) {
		return "none has begun"
	}
	return fmt.Sprintf("%d of %d (%s), since %s", doc.Step+1, len(steps), steps[doc.Step], doc.StepBegan.UTC().Format("2006-01-02 15:04 UTC"))
}

// nodesOf makes the data of the table of nodes.
func nodesOf(v View, q pageQuery, silentNames []string, now time.Time) nodesData {
	silent := map[string]bool{}
	for _, n := range silentNames {
		silent[n] = true
	}
	var found []*nf.HeardNode
	words := strings.Fields(strings.ToLower(q.words))
	for i := range v.Nodes {
		if matches(&v.Nodes[i], silent[v.Nodes[i].Node], words) {
			found = append(found, &v.Nodes[i])
		}
	}
	last := max(0, (len(found)-1)/perPage)
	page := min(q.page, last)
	shown := found[page*perPage : min(len(found), (page+1)*perPage)]
	d := nodesData{Query: q.words, Total: len(v.Nodes), Found: len(found), First: page*perPage + 1, Last: page*perPage + len(shown)}
	if page > 0 {
		d.Previous = linkTo(q.words, page-1)
	}
	if page < last {
		d.Next = linkTo(q.words, page+1)
	}
	for _, n := range shown {
		d.Rows = append(d.Rows, nodeOf(n, v.Document, silent[n.Node], now))
	}
	return d
}

func linkTo(words string, page int) string {
	return "/?" + url.Values{"q": {words}, "page": {strconv.Itoa(page + 1)}}.Encode() + "#nodes"
}

// matches reports whether a node has all words in what the table says of it, or in its labels.
func matches(n *nf.HeardNode, silent bool, words []string) bool {
	if len(words) == 0 {
		return true
	}
	text := n.Node + " " + n.Revision + " " + n.Message + " " + labelsOf(n.Labels)
	if n.Progress != nil {
		text += " " + string(n.Progress.State)
	}
	if silent {
		text += " silent"
	}
	text = strings.ToLower(text)
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

func labelsOf(labels map[string]string) string {
	list := make([]string, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		list = append(list, k+"="+labels[k])
	}
	return strings.Join(list, " ")
}

func nodeOf(n *nf.HeardNode, doc *nf.RolloutDocument, silent bool, now time.Time) nodeData {
	d := nodeData{Name: n.Node, Revision: shorten(cmp.Or(n.Revision, "none"), 12), Message: shorten(n.Message, maxText), Heard: momentOf(n.Heard, now), Progress: mark{"quiet", "none"}}
	if silent {
		d.Silent = &mark{"yellow", "silent"}
	}
	if doc == nil {
		return d
	}
	d.Group = rollout.Group(*doc, n.Labels).Name
	if p := n.Progress; p != nil && p.Revision == doc.Revision && p.Generation >= doc.Began {
		d.Progress, d.Reason = mark{progressClass(p.State), string(p.State)}, shorten(p.Reason, maxText)
	}
	return d
}

func progressClass(s nf.ProgressState) string {
	switch s {
	case nf.ProgressFailed, nf.ProgressStuck:
		return "red"
	case nf.ProgressRefused:
		return "yellow"
	case nf.ProgressApplied, nf.ProgressUnaffected:
		return "green"
	}
	return "quiet"
}
