package web

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
)

// pageSize is how many containers are shown at once, and maxWords the longest filter.
const (
	pageSize = 50
	maxWords = 200
)

// query is what of the containers is to be shown.
type query struct {
	Text, Runtime, Level, Sort string
	Attention                  bool
	page                       int      // from 1
	runtimes                   []string // that can be selected
}

// The orders of containers.
const (
	byAttention = "attention"
	byName      = "name"
	byFullest   = "fullest"
)

// levelUnknown selects containers whose level was not read.
const levelUnknown = "unknown"

// parseQuery reads a query. What it does not know is left out.
func parseQuery(v url.Values) query {
	known := func(name string, words ...string) string {
		if word := v.Get(name); slices.Contains(words, word) {
			return word
		}
		return ""
	}
	q := query{Text: v.Get("q"), Runtime: known("runtime", nf.Runtimes()...), Level: known("level", levels()...), Sort: cmp.Or(known("sort", byName, byFullest), byAttention), Attention: v.Get("attention") != ""}
	q.Text = strings.ToValidUTF8(q.Text[:min(len(q.Text), maxWords)], "")
	q.page, _ = strconv.Atoi(v.Get("page")) // 0 is the first one too
	return q
}

func levels() []string { return append(slices.Clone(nf.LevelNames()), levelUnknown) }

// Runtimes are those that can be selected: those of the node's containers, and the selected one.
func (q query) Runtimes() []string { return q.runtimes }

// offer sets the runtimes that can be selected.
func (q *query) offer(list []container) {
	has := map[string]bool{q.Runtime: true}
	for _, c := range list {
		has[c.Target.Runtime] = true
	}
	q.runtimes = slices.DeleteFunc(nf.Runtimes(), func(runtime string) bool { return !has[runtime] })
}

// Levels are what can be selected.
func (query) Levels() []string { return levels() }

// IsSet reports whether the query selects some containers.
func (q query) IsSet() bool {
	return strings.TrimSpace(q.Text) != "" || q.Runtime != "" || q.Level != "" || q.Attention
}

// link returns the address of another page of the same containers.
func (q query) link(page int) string {
	v := url.Values{}
	for name, value := range map[string]string{"q": q.Text, "runtime": q.Runtime, "level": q.Level, "sort": q.Sort} {
		if value != "" && value != byAttention {
			v.Set(name, value)
		}
	}
	if q.Attention {
		v.Set("attention", "1")
	}
	if page > 1 {
		v.Set("page", strconv.Itoa(page))
	}
	return "/?" + v.Encode() + "#containers"
}

type (
	pageContainers struct {
		Query          query
		As             *pageTime // when they were seen; nil: they were not
		Total, Found   string    // numbers of containers
		First, Last    string    // of those that are shown
		Rows           []pageRow
		Previous, Next string // addresses; empty: there is none
		Counts         []pageMark
	}
	pageRow struct {
		Name, ID, State                string
		Marks                          []pageMark
		Level, LevelSaved, LevelWanted pageCell
		Limit, LimitWanted             pageCell
		Table                          *pageTable
	}
	// pageCell is a value. One that is off is not as wanted; one that is the same as the live value says nothing new.
	pageCell struct {
		Text      string
		Off, Same bool
	}
	// pageTable is the conntrack table of a container, or of the node.
	pageTable struct {
		Count, Max string
		Percent    int64
		Bar        pageBar
		Spark      *pageSpark
		FullAt     *pageTime
	}
)

// container is a container with all that is said of it.
type container struct {
	*apply.Seen
	reading *agent.TableReading // nil: it was not read
	marks   []pageMark
	rank    int // 0: it needs nobody
	off     map[nf.Key]bool
}

// containers returns the containers that a query selects.
func (p *Page) containers(t times, s nf.NodeStatus, o apply.Overview, tables agent.TableReport, q query) pageContainers {
	list := judged(s, o, tables)
	q.offer(list)
	c := pageContainers{Query: q, Total: grouped(int64(len(o.Containers)))}
	if !o.At.IsZero() {
		at := t.of(o.At)
		c.As = &at
	}
	c.Counts = countMarks(list)
	list = slices.DeleteFunc(list, func(c container) bool { return !q.selects(c) })
	q.sort(list)
	pages := max((len(list)+pageSize-1)/pageSize, 1)
	page := min(max(q.page, 1), pages)
	first := (page - 1) * pageSize
	last := min(first+pageSize, len(list))
	c.Found, c.First, c.Last = grouped(int64(len(list))), grouped(int64(min(first+1, last))), grouped(int64(last))
	if page > 1 {
		c.Previous = q.link(page - 1)
	}
	if page < pages {
		c.Next = q.link(page + 1)
	}
	c.Rows = p.rows(t, list[first:last])
	return c
}

func (p *Page) rows(t times, list []container) []pageRow {
	targets := make([]nf.Target, len(list))
	for i := range list {
		targets[i] = list[i].Target
	}
	days := p.Tables.Days(targets)
	var rows []pageRow
	for _, c := range list {
		rows = append(rows, c.row(t, days))
	}
	return rows
}

// judged returns all containers of an overview, with what the status and the tables say of each.
func judged(s nf.NodeStatus, o apply.Overview, tables agent.TableReport) []container {
	list := make([]container, len(o.Containers))
	at := make(map[nf.Target]*container, len(list))
	for i := range list {
		list[i].Seen = &o.Containers[i]
		at[o.Containers[i].Target.Nameless()] = &list[i]
	}
	mark := func(target nf.Target, key nf.Key, rank int, class, text string) {
		if c := at[target.Nameless()]; c != nil {
			c.mark(key, rank, pageMark{class, text})
		}
	}
	for _, x := range s.Stuck {
		mark(x.Target, x.Key, 9, red, "stuck")
	}
	for _, x := range s.Refusals {
		mark(x.Target, x.Key, 8, red, "refused")
	}
	for _, f := range s.Tables {
		if f.Full {
			mark(f.Target, "", 7, red, "full")
		} else {
			mark(f.Target, "", 6, yellow, "fills")
		}
	}
	for _, x := range s.Fights {
		mark(x.Target, x.Key, 5, red, "left alone")
	}
	for _, x := range notFought(s) {
		mark(x.Target, x.Key, 4, yellow, "not made")
	}
	for _, x := range s.Pending {
		if isRestart(x.Until) {
			mark(x.Target, x.Key, 3, yellow, "restart")
		} else {
			mark(x.Target, x.Key, 0, quiet, "pending")
		}
	}
	for i := range tables.Tables {
		if c := at[tables.Tables[i].Target.Nameless()]; c != nil {
			c.reading = &tables.Tables[i]
		}
	}
	for i := range list {
		list[i].settle()
	}
	return list
}

// mark adds what is said of a key of the container. What is said twice is shown once.
func (c *container) mark(key nf.Key, rank int, m pageMark) {
	if !slices.Contains(c.marks, m) {
		c.marks = append(c.marks, m)
	}
	c.rank = max(c.rank, rank)
	if c.off == nil {
		c.off = map[nf.Key]bool{}
	}
	if c.off[key] = true; key == nf.KeyRestart {
		c.off[nf.KeyLevel] = true
	}
}

// settle marks a container of which nothing else is said.
func (c *container) settle() {
	switch {
	case c.Unobservable != "":
		c.mark("", 2, pageMark{yellow, "unreadable"})
	case len(c.marks) > 0:
	case c.Keys == 0:
		c.marks = []pageMark{{quiet, "no policy"}}
	default:
		c.marks = []pageMark{{green, "as wanted"}}
	}
}

// countMarks counts the containers by what is said of them, the most first.
func countMarks(list []container) []pageMark {
	counts := map[pageMark]int64{}
	for _, c := range list {
		for _, m := range c.marks {
			counts[m]++
		}
	}
	var marks []pageMark
	for m := range counts {
		marks = append(marks, m)
	}
	slices.SortFunc(marks, func(a, b pageMark) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.Text, b.Text)) })
	for i, m := range marks {
		marks[i].Text = grouped(counts[m]) + " " + m.Text
	}
	return marks
}

// selects reports whether a container is one of those that are asked for. Each word has to be in its
// name, its id or what is said of it.
func (q query) selects(c container) bool {
	if q.Runtime != "" && c.Target.Runtime != q.Runtime || q.Attention && c.rank == 0 {
		return false
	}
	if level, known := c.Level.Live.Level(); q.Level != "" && (!known && q.Level != levelUnknown || known && q.Level != level.String()) {
		return false
	}
	words := strings.Fields(strings.ToLower(q.Text))
	if len(words) == 0 {
		return true
	}
	texts := []string{c.Target.Runtime + "/" + c.Target.ID, c.Target.Name, c.State}
	for _, m := range c.marks {
		texts = append(texts, m.Text)
	}
	text := strings.ToLower(strings.Join(texts, "\n"))
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
}

// sort sorts containers that are sorted by their targets.
func (q query) sort(list []container) {
	switch q.Sort {
	case byAttention:
		slices.SortStableFunc(list, func(a, b container) int { return cmp.Compare(b.rank, a.rank) })
	case byFullest:
		slices.SortStableFunc(list, func(a, b container) int { return cmp.Compare(b.filled(), a.filled()) })
	case byName:
		slices.SortStableFunc(list, func(a, b container) int { return nf.CompareNames(a.name(), b.name()) })
	}
}

func (c container) name() string { return cmp.Or(c.Target.Name, c.Target.ID) }

// filled returns how full the table is; a table without a limit is after all others.
func (c container) filled() float64 {
	if c.reading == nil || c.reading.Max <= 0 {
		return -1
	}
	return float64(c.reading.Count) / float64(c.reading.Max)
}

func (c container) row(t times, days map[nf.Target]agent.Day) pageRow {
	r := pageRow{Name: view.Clean(c.name()), ID: view.Clean(c.Target.Runtime + "/" + c.Target.ID), State: view.Clean(c.State), Marks: c.marks}
	cell := func(key nf.Key, v nf.Value) pageCell {
		return pageCell{Text: valueText(c.Target, key, v), Off: c.off[key] && !v.IsAbsent()}
	}
	wanted := func(key nf.Key, s apply.Setting) pageCell {
		return pageCell{Text: wishText(c.Target, key, s.Wanted), Off: c.off[key] && s.IsWanted()}
	}
	r.Level, r.LevelSaved, r.LevelWanted = cell(nf.KeyLevel, c.Level.Live), cell(nf.KeyLevel, c.Level.Saved), wanted(nf.KeyLevel, c.Level)
	r.Limit, r.LimitWanted = cell(nf.KeyMax, c.Limit.Live), wanted(nf.KeyMax, c.Limit)
	if c.reading != nil {
		r.Table = shownTable(t, *c.reading, days)
		r.Limit.Text = r.Table.Max
	}
	for _, pair := range [][2]*pageCell{{&r.LevelSaved, &r.Level}, {&r.LevelWanted, &r.Level}, {&r.LimitWanted, &r.Limit}} {
		pair[0].Same = pair[0].Text == pair[1].Text || pair[0].Text == noValue
	}
	return r
}

func shownTable(t times, r agent.TableReading, days map[nf.Target]agent.Day) *pageTable {
	x := &pageTable{Count: grouped(r.Count), Max: "unlimited", Percent: percent(r.Count, r.Max), Bar: newBar(r.Count, r.Max)}
	if r.Max > 0 {
		x.Max = grouped(r.Max)
	}
	if r.FullAt != nil {
		at := t.of(*r.FullAt)
		x.FullAt = &at
	}
	if day, ok := days[r.Target]; ok {
		x.Spark = newSpark(day, r.Max)
	}
	return x
}
