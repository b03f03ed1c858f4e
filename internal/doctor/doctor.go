// Package doctor checks whether nfsync can do its work on a node. It changes
// nothing.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os/user"
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
	"nfsync.dev/nfsync/internal/vz"
)

// Node is a node, and how nfsync is set up on it.
type Node struct {
	Machine   apply.Observer
	Virtuozzo vz.Found
	Runtimes  []string // those that are listed
	NetnsDir  string
	NodeNetns string // empty: nfsync's own network namespace
	VZRoot    string
	StateDir  string
	RunDir    string
	Config    Configuration
	Root      string // where the manual and the like are
	Version   string // of this nfsync
	// Unprivileged reports whether nfsync runs as an ordinary user: what that user may not see is
	// unknown, and no failure.
	Unprivileged bool
	// FleetName is the node's name in its fleet. AskFleet asks the fleet of the configuration for its
	// roll-out; the error is an *agent.FleetError.
	FleetName string
	AskFleet  func(context.Context) (nf.RolloutDocument, error)
	// Agent asks the agent that runs. The error is web.ErrNoAgent if none does.
	Agent func(context.Context) (nf.NodeStatus, error)
	// Units returns AgentUnit and BootUnit; nil where systemd does not run.
	Units func(context.Context) ([]Unit, error)
	Space func(dir string) (Space, error)
	// Unowned returns a line for each network namespace that is neither the node's nor a container's.
	// With fs.ErrPermission there may be more.
	Unowned func(context.Context, *nf.Snapshot) ([]string, error)
	// FileLimit returns how many files a process may open.
	FileLimit   func(pid int) (uint64, error)
	LookupGroup func(name string) (*user.Group, error)
	Now         func() time.Time
	// Fetching shows that the fetch from a URL goes on, until done is called.
	Fetching func(url string) (done func())
}

// Examine makes all checks. Its error is that of observing the node.
func (n *Node) Examine(ctx context.Context) ([]view.Check, error) {
	none := apply.Known(nf.Memory{}) // n.memory reads it
	s, err := apply.Observe(ctx, apply.Live(n.Machine, none), func(*nf.Snapshot) nf.Ask { return nf.Ask{} })
	if err != nil {
		return nil, err
	}
	return slices.Concat(
		group(view.GroupNode, passed("kernel", fmt.Sprintf("Linux %s on %s, node %s", s.Kernel.Release, s.Kernel.Machine, s.Node.Name)),
			abilities(&s), modules(&s), conntrack(&s), n.namespace(&s), n.moduleLoading(&s), n.virtuozzo(&s), n.containers(&s), n.others(ctx, &s), bootFiles(&s), n.clock()),
		group(view.GroupState, append([]view.Check{n.memory(), n.state(), n.lock(), n.disk()}, n.lastGood()...)...),
		group(view.GroupConfiguration, n.configuration(ctx)...),
		group(view.GroupFleet, n.fleet(ctx)...),
		group(view.GroupAgent, n.agent(ctx)...),
		group(view.GroupService, n.service(ctx)...),
		group(view.GroupInstallation, n.installation()...),
	), nil
}

// group returns checks that belong together.
func group(name view.Group, checks ...view.Check) []view.Check {
	for i := range checks {
		checks[i].Group = name
	}
	return checks
}

// Failed reports whether one of the checks failed.
func Failed(checks []view.Check) bool {
	return slices.ContainsFunc(checks, func(c view.Check) bool { return c.Status == view.Fail })
}

func passed(name, detail string) view.Check {
	return view.Check{Name: name, Status: view.OK, Detail: detail}
}

func warned(name, detail, remedy string) view.Check {
	return view.Check{Name: name, Status: view.Warn, Detail: detail, Remedy: remedy}
}

func failed(name, detail, remedy string) view.Check {
	return view.Check{Name: name, Status: view.Fail, Detail: detail, Remedy: remedy}
}

func unknown(name, detail, remedy string) view.Check {
	return view.Check{Name: name, Status: view.Unknown, Detail: detail, Remedy: remedy}
}

const askRoot = "sudo nfsync doctor"

// notSeen returns a check that failed with an error as unknown, if only root may see more.
func (n *Node) notSeen(c view.Check, err error) view.Check {
	if n.Unprivileged && errors.Is(err, fs.ErrPermission) {
		return n.denied(c)
	}
	return c
}

// denied returns a check that failed because of a privilege as unknown, if root has it.
func (n *Node) denied(c view.Check) view.Check {
	if n.Unprivileged {
		c.Status, c.Remedy = view.Unknown, askRoot
	}
	return c
}

// abilities shows what the kernel answers to each probe. Nothing depends on a
// yes: nfsync does without.
func abilities(s *nf.Snapshot) view.Check {
	var list []string
	for _, p := range kernel.Probes() {
		a := p.Ask(&s.Modules)
		text := fmt.Sprintf("%s (Linux %s) %s", p.Name, p.Since, a.Can)
		if a.Detail != "" {
			text += ": " + a.Detail
		}
		list = append(list, text)
	}
	return passed("kernel can", strings.Join(list, "; "))
}

// supports is the module support of a kernel in words.
var supports = map[string]string{
	nf.SupportLoadable: "loadable",
	nf.SupportLocked:   "locked",
	nf.SupportNone:     "built in only",
}

func modules(s *nf.Snapshot) view.Check {
	m := &s.Modules
	if len(m.Installed) > 0 {
		return warned("modules", m.Unknown, "restart the node into the installed kernel: systemctl reboot")
	}
	if !m.Complete {
		return warned("modules", "the list of modules is incomplete: "+m.Unknown,
			"make /proc/modules, /sys/module or /lib/modules readable, or name their root: nfsync doctor --root DIR")
	}
	detail := fmt.Sprintf("%s; %d known", supports[m.Support], len(m.List))
	if m.Reason != "" {
		detail += ": " + m.Reason
	}
	return passed("modules", detail)
}

func conntrack(s *nf.Snapshot) view.Check {
	const name = "conntrack"
	live := s.Host.Fact(nf.KeyMax).Live
	switch limit, ok := live.Number(); {
	case ok:
		return passed(name, fmt.Sprintf("nf_conntrack_max is %d", limit))
	case live.IsUnknown():
		return failed(name, "nf_conntrack_max cannot be read: "+live.Why(), "run nfsync where /proc/sys is mounted: findmnt -T /proc/sys")
	}
	return warned(name, "nf_conntrack is not loaded: its keys do not exist yet", "a policy with level stateful loads it, or modprobe nf_conntrack")
}

const nodeRemedy = "run nfsync as root in the node's own network namespace, or name that: nfsync doctor --node-netns PATH"

func (n *Node) namespace(s *nf.Snapshot) view.Check {
	if why := s.Capabilities.Denied[nf.AbilityNode]; why != "" {
		return n.denied(failed("node", why, nodeRemedy))
	}
	where := "nfsync is in the node's network namespace"
	if n.NodeNetns != "" {
		where = "the node's network namespace is " + n.NodeNetns
	}
	return passed("node", where+", and its values can be changed")
}

func (n *Node) moduleLoading(s *nf.Snapshot) view.Check {
	const name = "module loading"
	if s.Modules.Support != nf.SupportLoadable {
		return passed(name, "not possible on this kernel: modules are "+supports[s.Modules.Support])
	}
	if why := s.Capabilities.Denied[nf.AbilityModules]; why != "" {
		return n.denied(warned(name, why, "run nfsync with CAP_SYS_MODULE: systemctl show -p CapabilityBoundingSet "+AgentUnit))
	}
	return passed(name, "allowed")
}

func (n *Node) containers(s *nf.Snapshot) view.Check {
	const name = "containers"
	if why := s.Capabilities.Denied[nf.AbilityContainers]; why != "" {
		if why == s.Capabilities.Denied[nf.AbilityNode] {
			return n.denied(failed(name, why, nodeRemedy))
		}
		return n.denied(failed(name, why, "run nfsync as root: "+askRoot))
	}
	count := map[string]int{}
	for i := range s.Containers {
		count[s.Containers[i].Runtime]++
	}
	c := passed(name, fmt.Sprintf("%d in %s", count[nf.RuntimeNetns], n.NetnsDir))
	for _, runtime := range nf.Runtimes() {
		if runtime != nf.RuntimeNetns && count[runtime] > 0 {
			c.Detail += fmt.Sprintf(", %d of %s", count[runtime], runtime)
		}
	}
	for _, w := range s.Warnings {
		c.Status, c.Remedy = view.Warn, view.CommandLine("nfsync", "explain", w.Code)
		c.Detail += "; " + w.Message
	}
	if s.Broken() != "" {
		c.Status, c.Detail = view.Fail, c.Detail+"; container list is incomplete"
		c.Remedy = "nothing is known of these containers, and nothing is changed in them, until they can be listed: nfsync explain runtime-broken"
	}
	return c
}

// maxOthers is how many network namespaces without a container are named.
const maxOthers = 20

// others names the network namespaces that no listed container has. Nothing is managed in them: those
// of services, of programs, of networks of Docker Swarm, of containers of users.
func (n *Node) others(ctx context.Context, s *nf.Snapshot) view.Check {
	const name = "other namespaces"
	lines, err := n.Unowned(ctx, s)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return unknown(name, err.Error(), "list them: lsns -t net")
	}
	text := "every network namespace is the node's or a container's"
	if count := len(lines); count > 0 {
		text = fmt.Sprintf("%d that no listed container has: %s", count, strings.Join(lines[:min(count, maxOthers)], "; "))
		if count > maxOthers {
			text += fmt.Sprintf("; and %d more: lsns -t net", count-maxOthers)
		}
	}
	if err != nil {
		return n.denied(unknown(name, text+"; not all can be seen: "+err.Error(), "run nfsync with CAP_SYS_PTRACE: systemctl show -p CapabilityBoundingSet "+AgentUnit))
	}
	return passed(name, text)
}

// without says, for each of Virtuozzo's programs, what nfsync cannot do if it is missing.
var without = map[string]string{
	"prlctl": "without prlctl states in transition (starting, migrating) are not seen",
	"vzlist": "without vzlist containers that the dispatcher does not know are not seen",
	"vzctl":  "without vzctl no level of a running container can be saved, and none can be restarted",
}

// virtuozzo checks which of Virtuozzo's programs are installed, and whether the
// kernel has levels.
func (n *Node) virtuozzo(s *nf.Snapshot) view.Check {
	found := &n.Virtuozzo
	switch {
	case !slices.Contains(n.Runtimes, nf.RuntimeVZ):
		return passed("virtuozzo", "not checked: --runtime does not name "+nf.RuntimeVZ)
	case !found.Any:
		return passed("virtuozzo", "not on this node: nothing of it is below "+cmp.Or(n.VZRoot, "/"))
	}
	c := passed("virtuozzo", strings.Join(slices.Sorted(maps.Values(found.Programs)), ", "))
	warn := func(detail, remedy string) {
		c.Status, c.Detail, c.Remedy = view.Warn, strings.TrimPrefix(c.Detail+"; "+detail, "; "), cmp.Or(c.Remedy, remedy)
	}
	for _, name := range found.Missing {
		warn(without[name], "install what is missing, or name where it is: nfsync doctor --vz-root DIR")
	}
	for _, w := range s.Warnings {
		if w.Code == nf.WarnRuntimeDegraded {
			warn("not all of the programs answer", "systemctl status prl-disp may say why")
		}
	}
	switch {
	case s.Capabilities.Masks:
		c.Detail += "; the kernel holds levels in masks, and tracking that was on stays on until a restart"
	case s.Capabilities.Latches == nf.No:
		warn("this kernel has no levels (Virtuozzo Hybrid Server 9 has none): levels of policies are refused, limits are managed", "leave levels out of the policies for this node: nfsync explain level-unsupported")
	default:
		warn("cannot determine whether this kernel has levels: "+whyMasksUnknown(found.NoCgroup, s), "start a container (prlctl start), or run nfsync where the ve cgroup is mounted")
	}
	return c
}

func whyMasksUnknown(noCgroup string, s *nf.Snapshot) string {
	switch {
	case noCgroup != "":
		return noCgroup
	case s.Broken() != "":
		return "container list is incomplete"
	}
	for i := range s.Containers {
		if c := &s.Containers[i]; c.Runtime == nf.RuntimeVZ && c.State == nf.StateRunning {
			return c.Fact(nf.KeyLevel).Live.Why()
		}
	}
	return "no container runs"
}
