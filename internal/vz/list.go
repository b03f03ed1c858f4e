package vz

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// entry is one container as the programs list it.
type entry struct {
	ctid, uuid, name string
	vzlist, prlctl   string // its state by each program; empty if that does not list it
	typ              string // of prlctl: CT or VM
}

// state returns the state by vzlist, unless prlctl alone knows better, as of a
// transition.
func (e entry) state() string {
	if e.vzlist == "" || unsettled(e.prlctl) {
		return e.prlctl
	}
	return e.vzlist
}

// unsettled reports whether a container must not be changed in a state of prlctl, whatever
// vzlist says: in transition, unknown to the dispatcher, or found unusable by it, so that
// a restart would stop the container for good (vmstate2str in src/Utils.cpp of prlctl).
func unsettled(state string) bool {
	return state != "" && !nf.Runs(state) && !nf.Rests(state)
}

// listing is the output of one program.
type listing struct {
	program string
	entries []entry
	bad     int // elements that could not be read
	absent  bool
	err     error
}

// Answer is the output of the programs, all at one time.
type Answer struct {
	entries  []entry
	warnings []nf.Warning
	err      error // neither program could list
	// masks and latches are those of nf.Capabilities, read if no container runs that
	// would show them.
	masks   bool
	latches string
}

// Ask runs the programs: each once for all containers, and none on a node without
// Virtuozzo.
func (r Runtime) Ask(ctx context.Context) Answer {
	n := r.node()
	if !n.virtuozzo() {
		return Answer{}
	}
	var a Answer
	a.entries, a.warnings, a.err = r.listed(ctx, n)
	if a.err == nil && !slices.ContainsFunc(a.entries, entry.runs) {
		a.masks, a.latches = r.masksByTool(ctx, n)
	}
	return a
}

func (e entry) runs() bool { return nf.Runs(e.state()) }

// listed returns the containers that either program lists. One of the two suffices.
func (r Runtime) listed(ctx context.Context, n *node) ([]entry, []nf.Warning, error) {
	answers := make(chan listing, 1)
	go func() { answers <- r.listPrlctl(ctx, n) }()
	vz := r.listVzlist(ctx, n)
	prl := <-answers
	switch {
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case vz.absent && prl.absent:
		return nil, nil, n.tree.lacks(vzlist, prlctl)
	case (vz.absent || vz.err != nil) && (prl.absent || prl.err != nil):
		return nil, nil, errors.Join(vz.err, prl.err)
	}
	var warnings []nf.Warning
	for _, l := range []listing{vz, prl} {
		if l.err != nil {
			warnings = append(warnings, warn(nf.WarnRuntimeDegraded, "not all that the programs list of containers can be read: %v", l.err))
		}
		if l.bad > 0 {
			warnings = append(warnings, warn(nf.WarnUnusableEntry, "%d of the containers that %s lists have no usable id: left alone", l.bad, l.program))
		}
	}
	entries, strays := n.merge(vz.entries, prl.entries)
	for _, e := range strays {
		warnings = append(warnings, warn(nf.WarnUnusableEntry, "%s lists the container %s, and its CTID cannot be found: left alone", prlctl, cmp.Or(e.uuid, e.name)))
	}
	return entries, warnings, nil
}

func warn(code, format string, args ...any) nf.Warning {
	return nf.Warning{Code: code, Target: nf.Node, Message: fmt.Sprintf(format, args...)}
}

// listVzlist asks vzlist only for fields without blanks and quotes: it does not escape
// strings.
func (r Runtime) listVzlist(ctx context.Context, n *node) listing {
	return r.list(ctx, n, vzlist, "-a", "-j", "-o", "ctid,uuid,status")
}

// listPrlctl asks prlctl for the fields that are needed. If it does not know one of them,
// it asks for the default fields.
func (r Runtime) listPrlctl(ctx context.Context, n *node) listing {
	l := r.list(ctx, n, prlctl, "list", "-a", "-j", "-o", "uuid,envid,type,name,status")
	var run *runError
	if errors.As(l.err, &run) && run.code() == exitUnknownField && strings.Contains(run.said, "nknown field") {
		return r.list(ctx, n, prlctl, "list", "-a", "-j")
	}
	return l
}

func (r Runtime) list(ctx context.Context, n *node, name string, args ...string) listing {
	l := listing{program: name}
	path := n.tree.program(name)
	if path == "" {
		l.absent = true
		return l
	}
	out, err := run(ctx, orDefault(r.Timeouts.List, listTimeout), path, args...)
	if err != nil {
		l.err = err
		return l
	}
	records, bad, err := parseList(out)
	if errors.Is(err, errNoOutput) && len(n.configured()) == 0 {
		err = nil // nothing to list
	}
	if err != nil {
		l.err = fmt.Errorf("%s: %w", name, err)
		return l
	}
	l.bad = bad
	for _, rec := range records {
		if e := newEntry(name, rec); e.ctid != "" || e.uuid != "" {
			l.entries = append(l.entries, e)
		} else if !isOther(e.typ) {
			l.bad++
		}
	}
	return l
}

// newEntry reads the keys of vzlist, and those of prlctl list with and without -i.
func newEntry(program string, r record) entry {
	e := entry{uuid: bareUUID(r.first("uuid", "id")), name: r["name"], typ: r["type"]}
	state := r.first("status", "state")
	if program == vzlist {
		e.ctid, e.vzlist = r.first("ctid", "veid"), cmp.Or(state, stateUnknown)
	} else {
		e.ctid, e.prlctl = r["envid"], cmp.Or(state, stateUnknown)
	}
	if !usableCTID(e.ctid) {
		e.ctid = ""
	}
	return e
}

// isOther reports whether a type of prlctl is another than a container.
func isOther(typ string) bool { return typ != "" && !strings.EqualFold(typ, "CT") }

// merge returns one entry a container from both programs, by its CTID or UUID, sorted by
// CTID. If prlctl lists one without a CTID, vzlist or a configuration has its UUID; strays
// are those of which none has.
func (n *node) merge(vz, prl []entry) (list, strays []entry) {
	all := map[string]*entry{}
	byUUID := map[string]string{}
	for _, e := range vz {
		if e.ctid == "" || all[e.ctid] != nil {
			continue
		}
		all[e.ctid] = &e
		if e.uuid != "" {
			byUUID[strings.ToLower(e.uuid)] = e.ctid
		}
	}
	configured := n.lazyUUIDs()
	for _, e := range prl {
		if isOther(e.typ) {
			continue
		}
		ctid := e.ctid
		if known := byUUID[strings.ToLower(e.uuid)]; known != "" && all[ctid] == nil {
			ctid = known
		}
		if ctid == "" {
			ctid = configured(e.uuid)
		}
		if ctid == "" {
			if e.typ != "" { // else it may as well be a virtual machine
				strays = append(strays, e)
			}
			continue
		}
		into := all[ctid]
		if into == nil {
			into = &entry{ctid: ctid}
			all[ctid] = into
		}
		into.prlctl, into.name, into.uuid = e.prlctl, cmp.Or(e.name, into.name), cmp.Or(e.uuid, into.uuid)
	}
	for _, e := range all {
		list = append(list, *e)
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.ctid, b.ctid) })
	return list, strays
}

// lazyUUIDs returns a function that returns the CTID of a UUID by the UUID= lines of all
// configurations. The first call reads them.
func (n *node) lazyUUIDs() func(uuid string) string {
	var known map[string]string
	return func(uuid string) string {
		if uuid == "" {
			return ""
		}
		if known == nil {
			known = n.uuids()
		}
		return known[strings.ToLower(uuid)]
	}
}

func (n *node) uuids() map[string]string {
	known := map[string]string{}
	for _, ctid := range n.configured() {
		if c, err := n.conf(ctid); err == nil {
			known[strings.ToLower(ctid)] = ctid
			known[strings.ToLower(bareUUID(c[confUUID]))] = ctid
		}
	}
	return known
}

// masksByTool determines whether the kernel of this node has masks if no container runs
// that would show one: the field of vzlist was removed with the mask (src/vzlist.c of
// vzctl, 8.0.28).
func (r Runtime) masksByTool(ctx context.Context, n *node) (masks bool, latches string) {
	path := n.tree.program(vzlist)
	if path == "" {
		return false, nf.MaybeUnknown
	}
	out, err := run(ctx, orDefault(r.Timeouts.List, listTimeout), path, "-L")
	if err != nil {
		return false, nf.MaybeUnknown
	}
	fields := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 0 {
			fields[f[0]] = true
		}
	}
	switch {
	case fields["netfilter"]:
		return true, nf.Yes
	case fields["ctid"]:
		return false, nf.No
	}
	return false, nf.MaybeUnknown
}
