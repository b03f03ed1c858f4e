package vz

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"nfsync.dev/nfsync/internal/nf"
)

// entry is one container as the programs list it.
type entry struct {
	ctid, uuid, name string
	vzlistUUID       string // by vzlist; uuid is the one by prlctl, if that lists it
	envid            string // its CTID by prlctl
	vzlist, prlctl   string // its state by each program; empty if the program does not list it
	typ              string // of prlctl: CT or VM
}

// state returns the state by vzlist, or that by prlctl if the container is unsettled: vzlist
// shows no transitions.
func (e entry) state() string {
	if e.vzlist == "" || unsettled(e.prlctl) {
		return e.prlctl
	}
	return e.vzlist
}

// unsettled reports whether a container must not be changed in a state of prlctl, even if
// vzlist shows another: it is in transition, the dispatcher does not know its state, or the
// dispatcher found it unusable. In the last case a restart would stop the container, and it
// could not start again (vmstate2str in src/Utils.cpp of prlctl).
func unsettled(state string) bool {
	return state != "" && !nf.Runs(state) && !nf.Rests(state)
}

// listing is the output of one program.
type listing struct {
	program string
	entries []entry
	bad     int  // elements that could not be read
	absent  bool // the program does not exist
	err     error
}

// listBoth returns the containers that prlctl or vzlist lists. One program suffices.
func (r Runtime) listBoth(ctx context.Context, n *node) ([]entry, []nf.Warning, error) {
	answers := make(chan listing, 1)
	go func() { answers <- r.listPrlctl(ctx, n) }()
	vz := r.listVzlist(ctx, n)
	prl := <-answers
	switch {
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case vz.absent && prl.absent:
		return nil, nil, n.tree.notFound(vzlist, prlctl)
	case (vz.absent || vz.err != nil) && (prl.absent || prl.err != nil):
		return nil, nil, errors.Join(vz.err, prl.err)
	}
	var warnings []nf.Warning
	for _, l := range []listing{vz, prl} {
		if l.err != nil {
			warnings = append(warnings, warn(nf.WarnRuntimeDegraded, "container list is incomplete: %v", l.err))
		}
		if l.bad > 0 {
			warnings = append(warnings, warn(nf.WarnUnusableEntry, "%s lists %d containers without a usable id: left alone", l.program, l.bad))
		}
	}
	entries, unknown := n.merge(vz.entries, prl.entries)
	for _, e := range unknown {
		warnings = append(warnings, warn(nf.WarnUnusableEntry, "cannot find the CTID of container %s, which %s lists: left alone", cmp.Or(e.uuid, e.name), prlctl))
	}
	return entries, warnings, nil
}

func warn(code, format string, args ...any) nf.Warning {
	return nf.Warning{Code: code, Target: nf.Node, Message: fmt.Sprintf(format, args...)}
}

// listVzlist lists with vzlist, and only fields that never have blanks or quotes: vzlist does
// not escape strings.
func (r Runtime) listVzlist(ctx context.Context, n *node) listing {
	return r.list(ctx, n, vzlist, "-a", "-j", "-o", "ctid,uuid,status")
}

// listPrlctl lists with prlctl. If prlctl does not know one of the fields, it lists the default
// fields.
func (r Runtime) listPrlctl(ctx context.Context, n *node) listing {
	l := r.list(ctx, n, prlctl, "list", "-a", "-j", "-o", "uuid,envid,type,name,status")
	if run, ok := errors.AsType[*runError](l.err); ok && run.code() == exitUnknownField && strings.Contains(run.message, "nknown field") {
		return r.list(ctx, n, prlctl, "list", "-a", "-j")
	}
	return l
}

// list runs a program and reads the containers that it prints.
func (r Runtime) list(ctx context.Context, n *node, name string, args ...string) listing {
	l := listing{program: name}
	path := n.tree.program(name)
	if path == "" {
		l.absent = true
		return l
	}
	out, err := run(ctx, cmp.Or(r.Timeouts.List, listTimeout), path, args...)
	if err != nil {
		l.err = err
		return l
	}
	records, bad, err := parseList(out)
	switch {
	case errors.Is(err, errNoOutput) && len(n.configured()) == 0: // nothing to list
	case err != nil:
		l.err = fmt.Errorf("%s: %w", name, err)
		return l
	}
	l.bad = bad
	for _, rec := range records {
		e := newEntry(name, rec)
		if name == vzlist {
			e.vzlistUUID = e.uuid
		} else {
			e.envid = e.ctid
		}
		if e.ctid != "" || e.uuid != "" {
			l.entries = append(l.entries, e)
		} else if !isOther(e.typ) {
			l.bad++
		}
	}
	return l
}

// newEntry reads the keys of vzlist, and those of prlctl list with and without -i.
func newEntry(program string, r record) entry {
	e := entry{uuid: bareUUID(cmp.Or(r["uuid"], r["id"])), name: r["name"], typ: r["type"]}
	state := cmp.Or(r["status"], r["state"], stateUnknown)
	if program == vzlist {
		e.ctid, e.vzlist = cmp.Or(r["ctid"], r["veid"]), state
	} else {
		e.ctid, e.prlctl = r["envid"], state
	}
	if !usableCTID(e.ctid) {
		e.ctid = ""
	}
	return e
}

// isOther reports whether prlctl lists an entry as something other than a container.
func isOther(typ string) bool { return typ != "" && !strings.EqualFold(typ, "CT") }

// merge returns one entry for each container that either program lists, sorted by CTID. A
// container that prlctl lists without a CTID is found by its UUID, in the list of vzlist or
// in the configurations. unknown has those that are found in neither.
func (n *node) merge(vz, prl []entry) (list, unknown []entry) {
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
	ctids := sync.OnceValue(n.ctidsByUUID)
	for _, e := range prl {
		if isOther(e.typ) {
			continue
		}
		ctid := e.ctid
		if known := byUUID[strings.ToLower(e.uuid)]; known != "" && all[ctid] == nil {
			ctid = known
		}
		if ctid == "" && e.uuid != "" {
			ctid = ctids()[strings.ToLower(e.uuid)]
		}
		if ctid == "" {
			if e.typ != "" { // else it may as well be a virtual machine
				unknown = append(unknown, e)
			}
			continue
		}
		into := all[ctid]
		if into == nil {
			into = &entry{ctid: ctid}
			all[ctid] = into
		}
		into.prlctl, into.name, into.uuid = e.prlctl, cmp.Or(e.name, into.name), cmp.Or(e.uuid, into.uuid)
		into.envid = e.envid
	}
	for _, e := range all {
		list = append(list, *e)
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.ctid, b.ctid) })
	return list, unknown
}

// ctidsByUUID returns the CTIDs of all configurations by UUID in lower case. A CTID may
// itself be a UUID.
func (n *node) ctidsByUUID() map[string]string {
	known := map[string]string{}
	for _, ctid := range n.configured() {
		if c, err := n.conf(ctid); err == nil {
			known[strings.ToLower(ctid)] = ctid
			known[strings.ToLower(bareUUID(c[confUUID]))] = ctid
		}
	}
	return known
}

// latchesByVzlist returns nf.Capabilities.Latches by the fields of vzlist: a kernel with masks
// latches, and the field netfilter was removed together with the mask (src/vzlist.c of vzctl,
// 8.0.28).
func (r Runtime) latchesByVzlist(ctx context.Context, n *node) string {
	path := n.tree.program(vzlist)
	if path == "" {
		return nf.MaybeUnknown
	}
	out, err := run(ctx, cmp.Or(r.Timeouts.List, listTimeout), path, "-L")
	if err != nil {
		return nf.MaybeUnknown
	}
	fields := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 0 {
			fields[f[0]] = true
		}
	}
	switch {
	case fields["netfilter"]:
		return nf.Yes
	case fields["ctid"]:
		return nf.No
	}
	return nf.MaybeUnknown
}
