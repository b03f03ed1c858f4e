package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// table has the answer to one question.
type table struct {
	question string
	about    string // what is done, in Markdown
	rows     []*row
}

// row is one program at one size.
type row struct {
	what    string
	scene   string // the size, and the state of the kernel's cache
	base    *row   // what it is compared with; nil: nothing
	samples []sample
	targets []target
}

// sample is one measured run.
type sample struct {
	wall, cpu time.Duration // cpu: user and system, with the children
	peak      int64         // bytes of memory; 0: not measured
	atMost    bool          // peak is a bound: the program that started it had as much
}

// add adds a row to the table.
func (t *table) add(r row) *row {
	t.rows = append(t.rows, &r)
	return &r
}

// wall returns the median time of the runs, in nanoseconds.
func (r *row) wall() float64 {
	return median(each(r.samples, func(s sample) float64 { return float64(s.wall) }))
}

// cpu returns the median of the processor time, in nanoseconds.
func (r *row) cpu() float64 {
	return median(each(r.samples, func(s sample) float64 { return float64(s.cpu) }))
}

// peak returns the most memory of any run, in bytes.
func (r *row) peak() (most float64, atMost bool) {
	for _, s := range r.samples {
		if p := float64(s.peak); p > most {
			most, atMost = p, s.atMost
		}
	}
	return most, atMost
}

// ratio returns how many times as long as its base the row takes; 0 if that is not known.
func (r *row) ratio() float64 {
	if r.base == nil || r.base.wall() == 0 {
		return 0
	}
	return r.wall() / r.base.wall()
}

func each[T, U any](list []T, f func(T) U) []U {
	out := make([]U, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}

// The columns of a table.
var columns = []string{"what", "scene", "median", "lowest to highest", "runs", "CPU", "memory", "× nfsync", "target"}

// cells returns the row as text.
func (r *row) cells() []string {
	walls := each(r.samples, func(s sample) time.Duration { return s.wall })
	memory := ""
	if peak, atMost := r.peak(); peak > 0 {
		memory = bytes(peak)
		if atMost {
			memory = "≤ " + memory
		}
	}
	ratio := ""
	if q := r.ratio(); q > 0 {
		ratio = number(q)
	}
	return []string{r.what, r.scene, duration(time.Duration(r.wall())),
		duration(slices.Min(walls)) + " to " + duration(slices.Max(walls)), thousands(len(walls)),
		duration(time.Duration(r.cpu())), memory, ratio, strings.Join(each(r.targets, target.cell), "; ")}
}

// markdown returns the table with its question, without the rows that were not measured.
func (t *table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n%s\n\n", t.question, t.about)
	lines := [][]string{columns}
	for _, r := range t.rows {
		if len(r.samples) > 0 {
			lines = append(lines, r.cells())
		}
	}
	b.WriteString(grid(lines, 2))
	return b.String()
}

// grid returns lines of cells as a table. The first columns are texts, and aligned to the left,
// the others but the last to the right.
func grid(lines [][]string, texts int) string {
	var b strings.Builder
	for i, cells := range lines {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(each(cells, cell), " | "))
		if i > 0 {
			continue
		}
		rule := slices.Repeat([]string{"---:"}, len(cells))
		for j := range rule {
			if j < texts || j == len(rule)-1 {
				rule[j] = "---"
			}
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(rule, " | "))
	}
	return b.String()
}

// cell escapes what would end a cell.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
