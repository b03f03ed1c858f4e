package runtimes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// Node is where the runtimes are.
type Node struct {
	Root   string // of the files of the runtimes; empty: /
	Proc   string // nfsync's own procfs, which shows the processes of the node; empty: /proc
	BootID string // of this start of the kernel: part of every instance
	// Own are the node's network namespaces. None of them is a container's.
	Own []netns.Identity
	// NodeNetns is the file of the node's network namespace; empty: nfsync's own.
	NodeNetns string
	// Thread enters the namespaces of containers; nil: a new thread for each.
	Thread *netns.Thread
	// Alive is that of netns.Runtime.
	Alive func(inode string) (instance string, ok bool)
	// Files keeps what was read from one listing to the next; nil: nothing is kept.
	Files *Files
}

// runtime is what differs between runtimes.
type runtime struct {
	name string
	// list returns the containers that the state of the runtime names. The state may be stale: a
	// container whose process has ended is left out later. With an error there may be more of them.
	list func(ctx context.Context, n Node) ([]record, error)
	// labels asks the runtime for the labels of its containers, by id; nil: list knows them.
	labels func(ctx context.Context, n Node) (map[string]map[string]string, error)
	// watch returns the directories in which something appears or vanishes when a container does.
	// They need not exist.
	watch func(n Node) []string
	// births returns those directories in which an entry appears when a container is made, before its
	// program runs. They need not exist.
	births func(n Node) []string
	// born returns the container that an entry of these directories stands for, with a process that is
	// in its network namespace; false if there is none yet. The record of an entry that stands for
	// none has no id.
	born func(n Node, entry string) (record, bool)
}

// all are the runtimes, in the order in which they claim network namespaces.
var all = []runtime{cri, docker, podman, incus, lxc, nspawn}

// record is a container as the state of its runtime has it.
type record struct {
	id      string
	name    string
	unnamed string   // why the name is not known: the container cannot be observed
	aliases []string // its other names
	labels  map[string]string
	// labelsUnknown says why nobody can be asked for the labels.
	labelsUnknown string
	state         string // one of nf; empty: running
	freezes       bool   // whether it is paused is known from its cgroup

	pid   int    // its first process
	start uint64 // when that has started; 0: the runtime does not say, and has made sure of the process otherwise
	err   error  // why the process is not known: the container cannot be observed
	file  string // on which its network namespace is mounted; empty: that of the process

	pod    bool        // it holds the network namespace of a pod
	joined func() bool // reports whether it has joined the namespace of another container; nil: it has not
}

// Listing is the result of List.
type Listing struct {
	Containers []nf.Container
	// Namespaces are those of the containers: no other runtime may list them.
	Namespaces []netns.Identity
	Warnings   []nf.Warning
}

// List lists the running containers of the named runtimes, without facts. Namespaces that are claimed
// are not listed again. A runtime that cannot be listed brings a warning. The error is that of ctx.
func (n Node) List(ctx context.Context, names []string, claimed []netns.Identity) (Listing, error) {
	l := listing{node: n, taken: map[netns.Identity]bool{}, targets: map[nf.Target]bool{}}
	for _, ns := range claimed {
		l.taken[ns] = true
	}
	for _, r := range all {
		if !slices.Contains(names, r.name) {
			continue
		}
		records, err := r.list(ctx, n)
		if ctx.Err() != nil {
			return Listing{}, ctx.Err()
		}
		if err != nil {
			l.warn(nf.WarnRuntimeBroken, fmt.Sprintf("cannot list all containers of %s: %v", r.name, err))
		}
		l.add(r.name, records)
	}
	n.Files.forget()
	return l.Listing, nil
}

// Label adds the labels to containers that List has listed, of the runtimes whose files do not have
// them. Where they cannot be read, the container says why. If List has said so, nobody is asked.
func (n Node) Label(ctx context.Context, containers []nf.Container) error {
	for _, r := range all {
		of := func(c *nf.Container) bool { return c.Runtime == r.name && c.LabelsUnknown == "" }
		if r.labels == nil || !slices.ContainsFunc(containers, func(c nf.Container) bool { return of(&c) }) {
			continue
		}
		labels, err := r.labels(ctx, n)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for i := range containers {
			if c := &containers[i]; of(c) {
				c.Labels, c.LabelsUnknown = labelsOf(labels, c.ID, err)
			}
		}
	}
	return nil
}

// labelsOf returns the labels of a container, or why they are not known.
func labelsOf(labels map[string]map[string]string, id string, err error) (map[string]string, string) {
	if of, ok := labels[id]; ok {
		return of, ""
	}
	if err != nil {
		return nil, err.Error()
	}
	return nil, "the runtime's answer does not have it"
}

// listing is a Listing that is being made.
type listing struct {
	Listing
	node    Node
	taken   map[netns.Identity]bool // of containers, and those that were claimed
	targets map[nf.Target]bool
}

func (l *listing) warn(code, message string) {
	l.Warnings = append(l.Warnings, nf.Warning{Code: code, Target: nf.Node, Message: message})
}

// member is a record whose process runs.
type member struct {
	record
	entry    nf.Entry
	ns       netns.Identity
	instance string
}

// add adds the containers of one runtime.
func (l *listing) add(runtime string, records []record) {
	groups := map[netns.Identity][]member{}
	var order []netns.Identity
	var onNode []string
	for _, r := range records {
		m, err := l.node.find(r)
		switch {
		case errors.Is(err, fs.ErrNotExist): // its state is stale, or it has ended meanwhile
		case err != nil:
			l.addContainer(runtime, member{record: r}, nil, err.Error())
		case l.node.isOwn(m.ns):
			onNode = append(onNode, cmp.Or(r.name, shortID(r.id)))
		case l.taken[m.ns]:
		default:
			if groups[m.ns] == nil {
				order = append(order, m.ns)
			}
			groups[m.ns] = append(groups[m.ns], m)
		}
	}
	for _, ns := range order {
		l.taken[ns] = true
		l.Namespaces = append(l.Namespaces, ns)
		group := groups[ns]
		slices.SortStableFunc(group, compareMembers(len(group) > 1))
		l.addContainer(runtime, group[0], group[1:], "")
	}
	if len(onNode) > 0 {
		l.warn(nf.WarnNodeNamespace, onNodeMessage(runtime, onNode))
	}
}

// compareMembers orders the members of a namespace: the container of a pod, those that have made the
// namespace, those that have joined it, each by age. Of a single member it asks nothing.
func compareMembers(several bool) func(a, b member) int {
	rank := func(m member) int {
		switch {
		case m.pod:
			return 0
		case several && m.joined != nil && m.joined():
			return 2
		}
		return 1
	}
	return func(a, b member) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.entry.Start, b.entry.Start), cmp.Compare(a.id, b.id))
	}
}

// maxNamed is how many containers a warning names.
const maxNamed = 5

func onNodeMessage(runtime string, names []string) string {
	slices.SortFunc(names, nf.CompareNames)
	text := strings.Join(names[:min(len(names), maxNamed)], ", ")
	if more := len(names) - maxNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%s: in the node's own network namespace, and so no containers here: %s", runtime, text)
}

// addContainer adds a container with the others that are in its namespace. why says why it cannot be
// observed.
func (l *listing) addContainer(runtime string, m member, others []member, why string) {
	c := toContainer(runtime, m, others, why)
	id := c.Target().Nameless()
	if l.targets[id] {
		l.warn(nf.WarnUnusableEntry, fmt.Sprintf("%s: another container has the id %s too: %s is left alone", runtime, c.ID, c.Name))
		return
	}
	l.targets[id] = true
	l.Containers = append(l.Containers, c)
}

func toContainer(runtime string, m member, others []member, why string) nf.Container {
	name := cmp.Or(m.name, shortID(m.id))
	return nf.Container{Runtime: runtime, ID: m.id, Name: name, Aliases: aliases(name, m, others), Labels: m.labels, LabelsUnknown: m.labelsUnknown,
		State: cmp.Or(m.state, nf.StateRunning), Entry: m.entry, Instance: m.instance,
		Unobservable: cmp.Or(why, m.unnamed), Namespace: nf.Namespace{Facts: []nf.Fact{}}}
}

// aliases returns the other names of a container: its own, and those of the others in its namespace.
func aliases(name string, m member, others []member) []string {
	list := slices.Clone(m.aliases)
	for _, o := range others {
		list = append(append(list, o.name), o.aliases...)
	}
	slices.SortFunc(list, nf.CompareNames)
	return slices.DeleteFunc(slices.Compact(list), func(a string) bool { return a == name || a == "" })
}

// find finds the network namespace of a container, by the file on which it is mounted or by its process.
// It returns fs.ErrNotExist if that has gone or ended.
func (n Node) find(r record) (member, error) {
	if r.err != nil {
		return member{}, r.err
	}
	if r.file != "" {
		ns, err := n.Thread.Identify(r.file)
		return member{record: r, entry: nf.Entry{File: r.file}, ns: ns, instance: n.instance(ns, 0)}, err
	}
	p, err := n.openProcess(r.pid, r.start)
	if err != nil {
		return member{}, err
	}
	defer p.Close()
	ns, err := n.identify(p)
	if err != nil {
		return member{}, permission(fmt.Errorf("cannot identify its network namespace: %w", err))
	}
	if r.freezes && n.isFrozen(p) {
		r.state = nf.StatePaused
	}
	return member{record: r, entry: nf.Entry{PID: p.PID, Start: p.Start}, ns: ns, instance: n.instance(ns, p.Start)}, nil
}

// permission names the capability that is needed to read the namespaces of a process (ptrace(2)).
func permission(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: nfsync needs CAP_SYS_PTRACE", err)
	}
	return err
}

// openProcess opens a process that has started at that time; 0: at any. It returns fs.ErrNotExist if
// the process has ended.
func (n Node) openProcess(pid int, start uint64) (*netns.Process, error) {
	p, err := netns.OpenProcess(n.proc(), pid)
	if err != nil {
		return nil, err
	}
	if start != 0 && p.Start != start {
		p.Close()
		return nil, fmt.Errorf("process %d is another one now: %w", pid, fs.ErrNotExist)
	}
	return p, nil
}

// isOwn reports whether a network namespace is the node's.
func (n Node) isOwn(ns netns.Identity) bool { return slices.Contains(n.Own, ns) }

func (n Node) proc() string { return cmp.Or(n.Proc, "/proc") }

// identify identifies the network namespace of a process.
func (n Node) identify(p *netns.Process) (netns.Identity, error) {
	id, err := p.Inode()
	if err != nil {
		return id, err
	}
	if n.Alive != nil {
		if instance, ok := n.Alive(id.InodeInstance(n.BootID)); ok {
			return id.Of(instance), nil
		}
	}
	return n.Thread.Identify(p.Path("ns/net"))
}

// instance returns the instance of a container. Where the kernel gives no number to its namespace, the
// start of its first process tells it from a later one with the same inode.
func (n Node) instance(ns netns.Identity, start uint64) string {
	ns.Cookie = cmp.Or(ns.Cookie, start)
	return ns.Instance(n.BootID)
}

// maxName is the length of a name that people may have given, in bytes. Every runtime allows less.
const maxName = 512

// checkName returns why a name cannot be one; empty if it can.
func checkName(name string) string {
	switch {
	case name == "":
		return "its name is not known"
	case len(name) > maxName:
		return fmt.Sprintf("its name is longer than %d bytes", maxName)
	case !utf8.ValidString(name):
		return "its name is not UTF-8"
	}
	return ""
}

// shortID returns the start of an id, as Docker and Podman show it.
func shortID(id string) string {
	const digits = 12
	if len(id) == 64 && isHex(id) {
		return id[:digits]
	}
	return id
}

// isHex reports whether a text has nothing but lower-case hexadecimal digits.
func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdef") == "" }
