package view

import (
	"strconv"
	"strings"
)

// list is a table of nodes, groups or counts: a line of headings, and lines of clean cells.
type list struct {
	heads []string // one that ends with a space is above numbers, which are aligned to the right
	rows  [][]cell
}

// add adds a line.
func (l *list) add(cells ...cell) { l.rows = append(l.rows, cells) }

// words returns a cell of one text in one style.
func words(style, text string) cell { return cell{{style, text}} }

// amount returns the cell of a number. None is shown as a dash, so that the others stand out.
func amount(style string, n int) cell {
	if n == 0 {
		return words(dim, "-")
	}
	return words(style, strconv.Itoa(n))
}

// list writes a table below an indent.
func (p *page) list(indent int, l list) {
	widths := make([]int, len(l.heads))
	head := make([]cell, len(l.heads))
	for i, h := range l.heads {
		head[i] = words(dim, strings.TrimSpace(h))
	}
	rows := append([][]cell{head}, l.rows...)
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], c.width())
		}
	}
	for _, row := range rows {
		line := strings.Repeat(" ", indent)
		gap := 0
		for i, c := range row {
			fill := widths[i] - c.width()
			if c.width() == 0 {
				gap += fill + 2
				continue
			}
			line += strings.Repeat(" ", gap)
			if strings.HasSuffix(l.heads[i], " ") {
				line += strings.Repeat(" ", fill)
				fill = 0
			}
			line += p.spans(c)
			gap = fill + 2
		}
		p.line(line)
	}
}
