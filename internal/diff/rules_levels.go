package diff

import "nfsync.dev/nfsync/internal/nf"

func isLevel(d *difference) bool { return d.want.Key == nf.KeyLevel }

// levelUnsupported: the runtime saves levels, and this kernel has no masks, as
// Virtuozzo Hybrid Server 9, which dropped them.
func levelUnsupported(w *World, d *difference) *verdict {
	if isLevel(d) && w.at(d.want.Target).runtimeLevel() && !w.masked(d.want.Target) {
		return no("this node keeps no netfilter levels for its containers")
	}
	return nil
}

// restoreKeepsLevel: resuming writes the mask of the dump back, whatever the
// configuration says.
func restoreKeepsLevel(w *World, d *difference) *verdict {
	if isLevel(d) && d.layer == nf.LayerLive && w.masked(d.want.Target) && isSuspended(w.at(d.want.Target).container) {
		v := no("the container is suspended with the level %s in its dump, and resuming brings that back", d.from)
		if saved := w.fact(d.want.Target, nf.KeyLevel).Boot; saved != nil && *saved == d.to {
			v.withRemedy("the level is saved: start the container cold (vzctl restart drops the dump, or resume it, stop it and start it)")
		}
		return v
	}
	return nil
}

// conntrackLatched: the Virtuozzo 7 kernel never clears net->ct.can_alloc, so
// tracking ends with the namespace only. After a restart that did not bring the level
// restartRequired decides.
func conntrackLatched(w *World, d *difference) *verdict {
	if !isLevel(d) || d.layer != nf.LayerLive || !w.latching() || d.restarted != nil {
		return nil
	}
	if to, _ := d.to.Level(); to >= nf.LevelStateful || !d.from.MaskTracks() {
		return nil
	}
	tracking := w.tracking(d.want.Target)
	if d.want.Target.IsNode() {
		if tracking != nf.TrackingOn {
			return nil
		}
		v := no("connection tracking was seen on in the node's own namespace, and this kernel keeps it on until the node restarts")
		v.until = nf.UntilNodeRestart
		return v.withRemedy("remove the rules that track, and restart the node; or want the level stateful for it")
	}
	if tracking == nf.TrackingOff {
		return nil
	}
	reason := "connection tracking is on in the container, and this kernel keeps it on until the container restarts"
	if tracking != nf.TrackingOn {
		reason = "connection tracking may be on in the container, as nothing proves it off, and this kernel keeps it on until the container restarts"
	}
	if !w.masked(d.want.Target) {
		return no("%s", reason).withRemedy("remove the rules that track, and recreate the network namespace; or want the level %s for it", d.from)
	}
	return no("%s", reason).withRestartRemedy(w, d)
}

// withRestartRemedy sets the remedy to a restart alone if the level is saved already.
func (v *verdict) withRestartRemedy(w *World, d *difference) *verdict {
	if saved := w.fact(d.want.Target, nf.KeyLevel).Boot; saved != nil && *saved == d.to {
		return v.withRemedy("the level is saved: restart the container (suspending and resuming it keeps the old level), or let nfsync restart it with restart: allow in its policy")
	}
	return v
}

// restartRequired: ve.iptables_mask returns EBUSY while the container runs.
func restartRequired(w *World, d *difference) *verdict {
	switch {
	case d.want.Key == nf.KeyRestart:
		return w.mayNotRestart(d)
	case !isLevel(d) || d.layer != nf.LayerLive || !w.masked(d.want.Target):
		return nil
	case d.restarted != nil:
		return w.restartedOnce(*d.restarted, d.from)
	case !asleep(w.at(d.want.Target).container):
		return no("the level of a running container cannot be changed: it is %s until the container restarts", d.from).withRestartRemedy(w, d)
	}
	return nil
}

// levelInUse: without a mask the level is what the rules of the namespace use.
func levelInUse(w *World, d *difference) *verdict {
	if !isLevel(d) || d.layer != nf.LayerLive || w.masked(d.want.Target) {
		return nil
	}
	to, _ := d.to.Level()
	users, more := levelUsers(w.at(d.want.Target).Rules, to)
	if len(users) == 0 {
		return no("the namespace is observed at %s, above %s", d.from, d.to)
	}
	return no("its own rules use %s: %s", d.from, listOf(users, 3, len(users)+more)).
		withRemedy("remove these rules, or want at least the level %s for it", d.from)
}
