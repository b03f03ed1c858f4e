package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// Tracking returns whether the network namespace of the calling thread tracks
// connections, given its rules, with the evidence. Since Linux 4.10 a namespace tracks
// while one of its rules needs it (nf_ct_netns_get in
// net/netfilter/nf_conntrack_proto.c). Live entries prove nothing: they stay until they
// time out. What this proves on a kernel that latches, package diff decides.
//
// Tracking is on if a rule needs it, if the kernel's command line has
// nf_conntrack.enable_hooks, or if nfnetlink_hook lists a hook of conntrack. It is off if
// conntrack is not loaded, or if all rules were read and are known, none needs it, and
// nothing else could track. Anything else is unknown. Of enable_hooks in modprobe.d only the hooks
// show.
func (fs FS) Tracking(ctx context.Context, m *nf.Modules, r *nf.Rules) nf.Tracking {
	there, err := fs.hasConntrack(m)
	switch {
	case err != nil:
		return unknownTracking(err.Error())
	case !there:
		return nf.Tracking{State: nf.TrackingOff, Evidence: "nf_conntrack is not loaded"}
	}
	if use := trackingUse(r); use != "" {
		return nf.Tracking{State: nf.TrackingOn, Evidence: use}
	}
	if line, _ := readFile(fs.proc("cmdline")); parseEnableHooks(line) {
		return nf.Tracking{State: nf.TrackingOn, Evidence: "nf_conntrack.enable_hooks is on the kernel's command line"}
	}
	hook, listed := conntrackHook(ctx, m)
	if hook != "" {
		return nf.Tracking{State: nf.TrackingOn, Evidence: "the hook " + hook + " is registered"}
	}
	if uses := r.UnknownUses(); uses != "" { // it may pass packets to conntrack without a hook
		return unknownTracking("nfsync does not know whether this tracks connections: " + uses)
	}
	if why := fs.otherTracker(m, listed); why != "" {
		return unknownTracking(why)
	}
	switch {
	case listed:
		return nf.Tracking{State: nf.TrackingOff, Evidence: "no hook of conntrack is registered"}
	case r.Unknown != "":
		return unknownTracking("not all rules could be read: " + r.Unknown)
	}
	return nf.Tracking{State: nf.TrackingOff, Evidence: "no rule needs conntrack"}
}

func unknownTracking(why string) nf.Tracking {
	return nf.Tracking{State: nf.TrackingUnknown, Evidence: why}
}

// hasConntrack reports whether conntrack is loaded or built in: by the modules or, if
// they do not show it, by its sysctls.
func (fs FS) hasConntrack(m *nf.Modules) (bool, error) {
	there, err := hasModule(m, "nf_conntrack")
	if err != nil {
		if _, e := os.Stat(fs.proc("sys/net/netfilter", countFile)); e == nil {
			return true, nil
		}
	}
	return there, err
}

// trackingUse says which use of a rule makes the kernel track; empty if none does.
func trackingUse(r *nf.Rules) string {
	for _, t := range r.Tables {
		for _, u := range t.Uses {
			if u.Level >= nf.LevelStateful {
				return fmt.Sprintf("%s of %s uses %s", u.Chain, t.Title(), u.What)
			}
		}
	}
	return ""
}

// parseEnableHooks reports whether the kernel's command line makes conntrack track in every
// namespace (enable_hooks in net/netfilter/nf_conntrack_standalone.c). The parameter is not
// in sysfs.
func parseEnableHooks(line []byte) bool {
	on := false
	for _, word := range bytes.Fields(line) {
		name, value, given := strings.Cut(string(word), "=")
		if nf.NormalizeModule(name) == "nf_conntrack.enable_hooks" {
			on = !given || strings.ContainsAny(value[:min(len(value), 1)], "yYtT1") || strings.EqualFold(value, "on")
		}
	}
	return on
}

// otherTracker says what else may track without a rule; empty if nothing may. If the
// hooks of the namespace are listed, only modules remain that pass packets to conntrack
// without a hook.
func (fs FS) otherTracker(m *nf.Modules, listed bool) string {
	// ovs_ct_execute in net/openvswitch/conntrack.c, tcf_ct_act in
	// net/sched/act_ct.c.
	for _, name := range []string{"openvswitch", "act_ct"} {
		switch there, err := hasModule(m, name); {
		case err != nil:
			return err.Error()
		case there:
			return "the module " + name + " may track connections without a rule"
		}
	}
	if listed {
		return ""
	}
	// Up to Linux 4.18 these are modules of their own, and before 4.10 loading
	// them makes every namespace track; later they are aliases.
	for _, name := range []string{"nf_conntrack_ipv4", "nf_conntrack_ipv6"} {
		if f, ok := m.Find(name); ok && f.Name == name && f.State != nf.ModuleUnloaded {
			return "old kernels track wherever " + name + " is loaded, and this one has it"
		}
	}
	return fs.ipvsTracker(m)
}

// ipvsTracker says why IPVS may track; empty if it does not. It tracks for its services
// only, which /proc/net/ip_vs lists for each namespace after a header of three lines
// (ip_vs_info_seq_show in net/netfilter/ipvs/ip_vs_ctl.c).
func (fs FS) ipvsTracker(m *nf.Modules) string {
	if there, err := hasModule(m, "ip_vs"); !there && err == nil {
		return ""
	}
	list, err := readFile(fs.threadNet("ip_vs"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return ""
	case err != nil:
		return "cannot read the services of IPVS: " + err.Error()
	case bytes.Count(bytes.TrimSpace(list), []byte("\n")) >= 3:
		return "IPVS has services, which may track connections"
	}
	return ""
}
