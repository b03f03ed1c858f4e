package web

import (
	"fmt"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
)

type (
	// pageKeys are the keys of the node itself.
	pageKeys struct {
		Level string // that its rules use
		Table *pageTable
		Rows  []pageKey
	}
	pageKey struct {
		Key, Live, Saved, Wanted, Policy string
		Mark                             pageMark
	}
)

// keys returns what is known of the node itself.
func (p *Page) keys(o apply.Overview, tables agent.TableReport) pageKeys {
	k := pageKeys{Level: valueText(nf.Node, nf.KeyLevel, o.Level)}
	for _, r := range tables.Tables {
		if r.Target.IsNode() {
			k.Table = shownTable(newTimes(p.clock()), r, p.Tables.Days([]nf.Target{nf.Node}))
		}
	}
	for _, e := range o.Node {
		k.Rows = append(k.Rows, pageKey{Key: view.Clean(string(e.Key)), Live: valueText(e.Target, e.Key, e.Live), Saved: valueText(e.Target, e.Key, e.Saved),
			Wanted: wishText(e.Target, e.Key, e.Wanted), Policy: view.Clean(fmt.Sprintf("%s:%d", e.Source.File, e.Source.Line)), Mark: keyMark(e)})
	}
	return k
}

func keyMark(e nf.EffectiveKey) pageMark {
	switch e.State {
	case nf.KeyInSync:
		return pageMark{green, "as wanted"}
	case nf.KeyRefused:
		return pageMark{red, "refused"}
	case nf.KeyPending:
		return pageMark{yellow, "pending"}
	}
	return pageMark{yellow, "differs"}
}
