package diff

import "nfsync.dev/nfsync/internal/nf"

// lowersNode reports whether the difference lowers the node's conntrack.max.
func (d *difference) lowersNode(w *World) bool {
	if !d.want.Target.IsNode() || d.want.Key != nf.KeyMax || d.layer != nf.LayerLive {
		return false
	}
	return nf.Lowers(d.from, d.to)
}

// readOnly: nf_conntrack_max, _buckets and _expect_max are 0444 outside the initial
// namespace since Linux 5.13.
func readOnly(w *World, d *difference) *verdict {
	if d.layer != nf.LayerLive || !d.want.Key.Conntrack() || d.awaits { // the value may be in the range
		return nil
	}
	if !d.want.Target.IsNode() && d.want.Key == nf.KeyMax && w.maxScope(d.want.Target) == nf.ScopeNode {
		file, _ := d.want.Key.Sysctl()
		node := w.fact(nf.Node, nf.KeyMax).Live
		return no("on this kernel net.netfilter.%s of a container is the node's, %s", file, node).
			withRemedy("set conntrack.max in a NodePolicy: it holds for each container alike")
	}
	if w.fact(d.want.Target, d.want.Key).ReadOnly {
		file, _ := d.want.Key.Sysctl()
		v := no("the kernel offers net.netfilter.%s read-only here", file)
		if d.want.Target.IsNode() {
			v.withRemedy("run nfsync in the node's initial network namespace, where the value can be written, or take it out of the policy")
		}
		return v
	}
	return nil
}

// aboveNode: proc_dointvec_minmax with the node's value as its maximum returns
// EINVAL.
func aboveNode(w *World, d *difference) *verdict {
	if d.want.Target.IsNode() || d.want.Key != nf.KeyMax || d.layer != nf.LayerLive {
		return nil
	}
	to, _ := d.to.Number()
	limit, known := w.fact(nf.Node, nf.KeyMax).Live.Number()
	if !known {
		return nil
	}
	node := ref{nf.Node, nf.KeyMax}
	if open := w.open(node); open != nil {
		if will, ok := open.to.Number(); ok && limit != 0 && will < limit {
			limit = will
		}
	}
	if limit == 0 && w.at(d.want.Target).keepers().Limit != nf.KeeperNobody {
		return no("the node's own limit is 0, and the kernel then takes no limit for a container").waitFor(node)
	}
	if limit == 0 || to <= limit {
		return nil
	}
	return no("%d is above the node's own limit of %d", to, limit).waitFor(node)
}

// belowContainer: the kernel checks the ceiling only when a container's value is
// written, so that a container would stay above a lowered node.
func belowContainer(w *World, d *difference) *verdict {
	if !d.lowersNode(w) {
		return nil
	}
	to, _ := d.to.Number()
	var above []ref
	var highest int64
	for _, t := range w.order {
		n, ok := w.fact(t, nf.KeyMax).Live.Number()
		if !ok || n <= to || w.maxScope(t) == nf.ScopeNode || asleep(w.at(t).container) {
			continue
		}
		above = append(above, ref{t, nf.KeyMax})
		highest = max(highest, n)
	}
	if len(above) == 0 {
		return nil
	}
	return no("%d is below the limit of %s (up to %d)", to, targets(above), highest).waitFor(above...)
}

// belowCount: a namespace with more entries than its limit drops new connections.
func belowCount(w *World, d *difference) *verdict {
	if d.want.Key != nf.KeyMax || d.layer != nf.LayerLive {
		return nil
	}
	to, _ := d.to.Number()
	if to == 0 || !nf.Lowers(d.from, d.to) {
		return nil
	}
	capped := []nf.Target{d.want.Target}
	if d.want.Target.IsNode() {
		for _, t := range w.order {
			if w.capped(t) {
				capped = append(capped, t)
			}
		}
	}
	for _, t := range capped {
		switch n, ok := w.at(t).Count.Number(); {
		case !ok || n <= to:
		case t == d.want.Target:
			return no("%d is below the %d live entries: new connections would be dropped", to, n)
		default:
			return no("%d is below the %d live entries of %s: new connections would be dropped", to, n, t)
		}
	}
	return nil
}

// capped reports whether the node's limit may cap the entries of a container: its
// limit is the node's, or 0, which means the node's, or of unknown scope.
func (w *World) capped(t nf.Target) bool {
	if asleep(w.at(t).container) {
		return false
	}
	n, ok := w.fact(t, nf.KeyMax).Live.Number()
	return w.maxScope(t) != nf.ScopeOwn || ok && n == 0
}
