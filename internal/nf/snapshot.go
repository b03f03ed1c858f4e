package nf

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"time"
)

// Snapshot is all facts of a node at one time: the NodeSnapshot document. Its
// format is public and stable.
type Snapshot struct {
	APIVersion   string       `json:"apiVersion"`
	Kind         string       `json:"kind"`
	Node         NodeIdentity `json:"node"`
	TakenAt      time.Time    `json:"takenAt"`
	BootID       string       `json:"bootID"` // /proc/sys/kernel/random/boot_id
	Kernel       Kernel       `json:"kernel"`
	Capabilities Capabilities `json:"capabilities"`
	Modules      Modules      `json:"modules"`
	// Host is the node's own network namespace.
	Host       Namespace   `json:"host"`
	Containers []Container `json:"containers"` // in the order of Target.Compare
	// Warnings are about the observation itself: files that were skipped, say.
	Warnings []Warning `json:"warnings"`
	Memory   Memory    `json:"memory"`
}

// NodeIdentity holds the name and labels that node selectors match.
type NodeIdentity struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
}

// Kernel identifies the kernel, by uname(2).
type Kernel struct {
	Release string `json:"release"`
	Machine string `json:"machine"`
}

// Capabilities are what this kernel, this node and nfsync itself can do, as
// probed.
type Capabilities struct {
	// Denied says why nfsync cannot make a kind of change; a kind that is not
	// in it can be made. The kinds are the Ability constants.
	Denied map[string]string `json:"denied,omitempty"`
	// Latches says whether tracking, once on in a namespace, stays on until the
	// namespace ends (Virtuozzo 7): yes, no or unknown.
	Latches string `json:"latches"`
	// Masks reports whether the kernel keeps the level of a container, in
	// ve.iptables_mask.
	Masks bool `json:"masks"`
	// BucketStep is the number to a multiple of which the kernel rounds hash buckets
	// up: a page of list heads (nf_ct_alloc_hashtable in
	// net/netfilter/nf_conntrack_core.c), 512 with pages of 4 KiB.
	BucketStep int64 `json:"bucketStep"`
	// LegacyTables reports whether ip_tables is loaded or built in.
	LegacyTables bool `json:"legacyTables"`
	// BootFiles reports whether the values of the node have a boot layer: nfsync's own
	// files below /etc, which the next start reads for the initial network namespace.
	// For another namespace nfsync does not write them.
	BootFiles bool `json:"bootFiles,omitempty"`
	// BootUnknown says why nfsync's own boot files could not be read.
	BootUnknown string `json:"bootUnknown,omitempty"`
}

// The kinds of changes that privileges decide about.
const (
	AbilityModules    = "modules"    // load and unload: CAP_SYS_MODULE
	AbilityNode       = "node"       // the node's own sysctls
	AbilityContainers = "containers" // enter and change containers
)

// The values of Capabilities.Latches.
const (
	Yes          = "yes"
	No           = "no"
	MaybeUnknown = "unknown"
)

// Container is one container of the node: its identity and what was observed
// inside.
type Container struct {
	Runtime string   `json:"runtime"`
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Aliases []string `json:"aliases,omitempty"`
	// UUID is the name of the container for Virtuozzo's dispatcher. ID is then its
	// CTID, which can be the same.
	UUID string `json:"uuid,omitempty"`
	// Labels are those that the runtime keeps of the container, of its pod or of its
	// instance. LabelsUnknown says why they are not known.
	Labels        map[string]string `json:"labels,omitempty"`
	LabelsUnknown string            `json:"labelsUnknown,omitempty"`
	State         string            `json:"state"`
	// Entry is how the network namespace is entered, of a container that nfsync has
	// listed itself.
	Entry Entry `json:"-"`
	// Instance changes when the container is restarted or recreated. One that does
	// not run has InstanceStopped or InstanceSuspended.
	Instance string `json:"instance"`
	// Unobservable says why nothing in the container can be read or changed.
	Unobservable string `json:"unobservable,omitempty"`
	// Excluded is Unobservable as far as the container's identity decides it: it
	// holds until that is read again. A failure to read a fact is not in it.
	Excluded string `json:"-"`
	// MaxScope says whose value the conntrack.max is, as far as this observation
	// shows: own, node or unknown.
	MaxScope string `json:"maxScope,omitempty"`
	Namespace
}

// Entry is how the network namespace of a container is entered: through a process that is in
// it, or through a file. It identifies no namespace: an instance does.
type Entry struct {
	PID   int    // of the container's first process; 0: none is known
	Start uint64 // of that process: starttime of proc_pid_stat(5), which tells it from a later one with its PID
	File  string // a file on which the namespace is mounted, of a container without a known process
}

// The states of a container that are not transitions, of those that prlctl(8) and
// vzlist(8) have. A named network namespace always runs.
const (
	StateRunning   = "running"
	StatePaused    = "paused"
	StateStopped   = "stopped"
	StateMounted   = "mounted"
	StateSuspended = "suspended"
)

// Runs reports whether a container in that state has processes, and with them a network
// namespace.
func Runs(state string) bool { return state == StateRunning || state == StatePaused }

// Rests reports whether a container in that state has no processes until it is started or
// resumed. A container that neither runs nor rests is in transition.
func Rests(state string) bool {
	return state == StateStopped || state == StateMounted || state == StateSuspended
}

// The instances of containers that have no namespace now.
const (
	InstanceStopped   = "stopped"
	InstanceSuspended = "suspended"
)

// Up reports whether the container was seen to run.
func (c *Container) Up() bool { return c.Unobservable == "" && Runs(c.State) }

// SortContainers sorts containers as Target.Compare does. It moves each only once: they are large.
func SortContainers(list []Container) {
	order := make([]*Container, len(list))
	for i := range list {
		order[i] = &list[i]
	}
	compare := func(a, b *Container) int { return a.Target().Compare(b.Target()) }
	if slices.IsSortedFunc(order, compare) {
		return
	}
	slices.SortFunc(order, compare)
	sorted := make([]Container, len(list))
	for i, c := range order {
		sorted[i] = *c
	}
	copy(list, sorted)
}

// Target is the container as a target.
func (c *Container) Target() Target {
	return Target{Kind: TargetContainer, Runtime: c.Runtime, ID: c.ID, Name: c.Name}
}

// Clone returns a copy of a listed snapshot that can be filled in without a
// change to s: its containers, their facts and its warnings are the copy's own.
func (s *Snapshot) Clone() Snapshot {
	c := *s
	c.Containers = slices.Clone(s.Containers)
	for i := range c.Containers {
		c.Containers[i].Facts = slices.Clone(s.Containers[i].Facts)
	}
	c.Host.Facts = slices.Clone(s.Host.Facts)
	c.Warnings = slices.Clone(s.Warnings)
	return c
}

// AddKeepers sets the keepers of each namespace that has none yet. The Virtuozzo
// 7 kernel keeps a level for each container of vz, and a limit for every namespace,
// whoever made it; that of VHS 9 keeps only limits, and for its own containers.
func (s *Snapshot) AddKeepers() {
	none := Keepers{}
	if s.Host.Keepers == none {
		s.Host.Keepers = Keepers{Level: KeeperNobody, Limit: KeeperKernel}
	}
	for i := range s.Containers {
		c := &s.Containers[i]
		if c.Keepers != none {
			continue
		}
		c.Keepers = Keepers{Level: KeeperNobody, Limit: KeeperNobody}
		if c.Runtime == RuntimeVZ || s.Capabilities.Latches == Yes {
			c.Keepers.Limit = KeeperKernel
		}
		switch {
		case c.Runtime != RuntimeVZ:
		case s.Capabilities.Masks:
			c.Keepers.Level = KeeperMask
		case s.Capabilities.Latches == MaybeUnknown:
			c.Keepers.Level = KeeperUnknown
		}
	}
}

// Find returns the namespace of a target, and its container where it is one.
// It is false where the snapshot does not have the target.
func (s *Snapshot) Find(t Target) (*Namespace, *Container, bool) {
	if t.IsNode() {
		return &s.Host, nil, true
	}
	// They are sorted, unless somebody else made the document.
	i, found := sort.Find(len(s.Containers), func(i int) int {
		c := &s.Containers[i]
		return cmp.Or(cmp.Compare(t.Runtime, c.Runtime), CompareNames(t.ID, c.ID))
	})
	if !found {
		i = slices.IndexFunc(s.Containers, func(c Container) bool { return c.Runtime == t.Runtime && c.ID == t.ID })
	}
	if i < 0 {
		return nil, nil, false
	}
	c := &s.Containers[i]
	return &c.Namespace, c, true
}

// Instance returns the instance of a target: of the node, the boot id. It is false where
// the snapshot does not have the target.
func (s *Snapshot) Instance(t Target) (string, bool) {
	_, c, ok := s.Find(t)
	switch {
	case !ok:
		return "", false
	case c == nil:
		return s.BootID, true
	}
	return c.Instance, true
}

// SetKinds gives the values of a snapshot that was read from JSON the kinds of
// their keys: see Value.As.
func (s *Snapshot) SetKinds() {
	for i := range s.Modules.List {
		m := &s.Modules.List[i]
		setKinds(ModuleKey(m.Name), m.Boot, m.Declared)
	}
	s.Host.setKinds()
	for i := range s.Containers {
		s.Containers[i].setKinds()
	}
	s.Memory.SetKinds()
}

// Broken says why there may be containers that the snapshot does not have: those of a
// runtime could not be listed. It is empty if it has all.
func (s *Snapshot) Broken() string {
	for _, w := range s.Warnings {
		if w.Code == WarnRuntimeBroken {
			return w.Message
		}
	}
	return ""
}

// Memory is what nfsync remembers of earlier runs on this node. Without it every key is
// new, and tracking that is not seen is unknown.
type Memory struct {
	Revision string      `json:"revision,omitempty"` // the last one applied
	Keys     []MemoryKey `json:"keys,omitempty"`     // sorted by target and key
	// MaxScope is, by kernel release, whose value a container's conntrack.max
	// turned out to be: own or node.
	MaxScope map[string]string `json:"maxScope,omitempty"`
	Latches  []Latch           `json:"latches,omitempty"`
	Restarts []RestartDone     `json:"restarts,omitempty"`
	// Failures are the changes that could not be made when they were last tried, and are
	// still to be made.
	Failures []Failure `json:"failures,omitempty"`
	// Stuck are the changes that hold back their targets.
	Stuck []StuckChange `json:"stuck,omitempty"`
}

// Clone returns a copy with lists of its own.
func (m Memory) Clone() Memory {
	m.Keys, m.MaxScope, m.Latches = slices.Clone(m.Keys), maps.Clone(m.MaxScope), slices.Clone(m.Latches)
	m.Restarts, m.Failures, m.Stuck = slices.Clone(m.Restarts), slices.Clone(m.Failures), slices.Clone(m.Stuck)
	return m
}

// MemoryKey is the last wish for a key and its last value.
type MemoryKey struct {
	Target   Target `json:"target"`
	Key      Key    `json:"key"`
	Asked    Wish   `json:"asked"`
	Applied  Value  `json:"applied"`
	Instance string `json:"instance"`      // of the target at that time; the boot id for the node
	Set      bool   `json:"set,omitempty"` // nfsync itself has changed it
}

// SetKinds gives the values of memory that was read from JSON the kinds of their
// keys: see Value.As.
func (m *Memory) SetKinds() {
	for i := range m.Keys {
		k := &m.Keys[i]
		k.Asked, k.Applied = k.Asked.As(k.Key), k.Applied.As(k.Key)
	}
	for i := range m.Restarts {
		d := &m.Restarts[i]
		d.Asked, d.Level = d.Asked.As(KeyLevel), d.Level.As(KeyLevel)
	}
	for i := range m.Failures {
		m.Failures[i].To = m.Failures[i].To.As(m.Failures[i].Key)
	}
	for i := range m.Stuck {
		m.Stuck[i].SetKinds()
	}
}

// Latch says that tracking was seen on for an instance of a target.
type Latch struct {
	Target   Target `json:"target"`
	Instance string `json:"instance"`
	Evidence string `json:"evidence,omitempty"`
}

// RestartDone is a restart that nfsync has made, or had begun, for a want.
type RestartDone struct {
	Target   Target `json:"target"`
	UUID     string `json:"uuid,omitempty"` // of the container, where it has one
	Asked    Wish   `json:"asked"`
	Instance string `json:"instance"` // the one that the restart was to end
	// State is RestartBegun or RestartMade. An nfsync that did not tell them apart
	// has left it empty.
	State string `json:"state,omitempty"`
	// Became is the instance that ran after a restart that was made, and Level its level.
	Became string `json:"became,omitempty"`
	Level  Value  `json:"level,omitzero"`
}

// The states of a restart.
const (
	RestartBegun = "begun" // the program was about to run; what came of it was not seen
	RestartMade  = "made"  // another instance ran afterwards
)

// IsOf reports whether the restart was one of this container. A container that was
// destroyed and made again under the same id is another one.
func (d RestartDone) IsOf(c *Container) bool {
	return d.Target.Nameless() == c.Target().Nameless() && (d.UUID == "" || c.UUID == "" || d.UUID == c.UUID)
}
