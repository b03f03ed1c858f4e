package nf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Layer says whether a value is live, in the kernel, or saved for the next start.
type Layer string

// The layers.
const (
	LayerLive Layer = "live"
	LayerBoot Layer = "boot"
)

// Fact is the observed value of one key, with what hinders a change.
type Fact struct {
	Key  Key   `json:"key"`
	Live Value `json:"live"`
	// Boot is the value that the next start brings; nil if nothing saves one for
	// this key.
	Boot *Value `json:"boot,omitempty"`
	// ReadOnly reports whether the value's file has no write permission at all.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Parameter is the parameter, MODULE.NAME, that sets the value where its file in
	// /proc/sys does not; empty if that file does.
	Parameter string `json:"parameter,omitempty"`
	// Declared are the lines of other files than nfsync's that set the key at the next
	// start.
	Declared []Declaration `json:"declared,omitempty"`
}

// Declaration is a line of a configuration file that is not nfsync's: sysctl.d(5),
// modules-load.d(5) or modprobe.d(5). It can be a word of the kernel's command line.
type Declaration struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"` // from 1; 0 of the kernel's command line
	// Directive is what a line about a module is: a Directive constant.
	Directive string `json:"directive,omitempty"`
	// Value is that of the key that the line sets, as the next start brings it; unknown if
	// the line cannot be understood.
	Value Value `json:"value"`
	// Why is how the line comes to that value, where the value does not show it.
	Why string `json:"why,omitempty"`
	// Overruled reports whether another line wins: in sysctl.d(5) nfsync's own, if it
	// has the key, or a later one; in modprobe.d(5) an earlier install line.
	Overruled bool `json:"overruled,omitempty"`
}

// The directives of lines about modules.
const (
	DirectiveLoad      = "load"      // of modules-load.d(5): the start loads the module
	DirectiveOptions   = "options"   // how the module is loaded
	DirectiveInstall   = "install"   // a command that is run instead of loading the module
	DirectiveAlias     = "alias"     // the name means another module, or none
	DirectiveBlacklist = "blacklist" // the module is not loaded unless it is named or needed
	// DirectiveKernel is module_blacklist of the kernel's command line: the kernel refuses
	// to load the module.
	DirectiveKernel = "module_blacklist"
)

// Place returns the file and the line.
func (d Declaration) Place() string { return place(d.File, d.Line) }

// place returns a file and a line of it, if there is one.
func place(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// Tracking says whether a network namespace tracks connections, with the evidence. The
// state is on, off or unknown.
type Tracking struct {
	State    string `json:"state"`
	Evidence string `json:"evidence"`
}

// The states of tracking.
const (
	TrackingOn      = "on"
	TrackingOff     = "off"
	TrackingUnknown = "unknown"
)

// The scopes of conntrack.max in a container: whose value the container shows.
const (
	ScopeOwn     = "own"
	ScopeNode    = "node"
	ScopeUnknown = "unknown"
)

// Who keeps a namespace to its level or limit.
const (
	KeeperMask   = "mask"   // of a level: ve.iptables_mask of the Virtuozzo 7 kernel
	KeeperKernel = "kernel" // of a limit: net.netfilter.nf_conntrack_max of the namespace's own
	KeeperNobody = "nobody" // of a level: its rules use what they use; of a limit: only the node's holds
	// KeeperUnknown is of a level that a mask may keep: no container runs that
	// would show whether this kernel has masks.
	KeeperUnknown = "unknown"
)

// Keepers says who keeps a namespace to its level and to its conntrack.max: the
// Keeper constants.
type Keepers struct {
	Level string `json:"level"`
	Limit string `json:"limit"`
}

// Namespace holds the facts of one network namespace, the node's or a
// container's.
type Namespace struct {
	// Facts are sorted by key. A key that was asked and is not among them is
	// absent. conntrack.max and the like are here, modules are not.
	Facts []Fact `json:"facts"`
	// Rules are the tables found; nil where they were not asked for.
	Rules *Rules `json:"rules,omitempty"`
	// Tracking is nil where it was not asked for.
	Tracking *Tracking `json:"tracking,omitempty"`
	// Count is the number of live conntrack entries; absent where not asked
	// for, or where the kernel has no conntrack.
	Count   Value   `json:"count"`
	Keepers Keepers `json:"keepers,omitzero"`
}

// Fact returns what was observed of that key; an absent value if nothing was.
func (n *Namespace) Fact(k Key) Fact {
	for i := range n.Facts {
		if n.Facts[i].Key == k {
			return n.Facts[i]
		}
	}
	return Fact{Key: k}
}

// SetFact adds a fact, in order, or replaces that of the same key.
func (n *Namespace) SetFact(f Fact) {
	i, found := slices.BinarySearchFunc(n.Facts, f.Key, func(f Fact, k Key) int { return cmp.Compare(f.Key, k) })
	if found {
		n.Facts[i] = f
		return
	}
	n.Facts = slices.Insert(n.Facts, i, f)
}

func (n *Namespace) setKinds() {
	for i := range n.Facts {
		f := &n.Facts[i]
		f.Live = f.Live.As(f.Key)
		setKinds(f.Key, f.Boot, f.Declared)
	}
}

func setKinds(k Key, boot *Value, declared []Declaration) {
	if boot != nil {
		*boot = boot.As(k)
	}
	for i := range declared {
		declared[i].Value = declared[i].Value.As(k)
	}
}

// MaxScope returns whose value the conntrack.max of a container is, as far as its fact
// and the node's value show: the node's if the file is read-only (mainline, 0444), its own
// if the two differ, otherwise unknown.
func MaxScope(max Fact, node Value) string {
	container, ok := max.Live.Number()
	value, known := node.Number()
	switch {
	case ok && max.ReadOnly:
		return ScopeNode
	case ok && known && container != value:
		return ScopeOwn
	}
	return ScopeUnknown
}

// Rules are the tables of one network namespace.
type Rules struct {
	Tables []Table `json:"tables"`
	// Unknown says why some or all could not be read; empty if all were.
	Unknown string `json:"unknown,omitempty"`
}

// The backends of tables.
const (
	BackendNft    = "nft"    // nf_tables
	BackendLegacy = "legacy" // x_tables: ip_tables, ip6_tables, arp_tables
)

// Table is one table of rules.
type Table struct {
	Backend string `json:"backend"`
	Family  string `json:"family"` // ip, ip6, inet, arp, bridge, netdev
	Name    string `json:"name"`
	Rules   int    `json:"rules"`
	// Guards are the base chains whose policy is not accept: they drop traffic even
	// without a rule.
	Guards []string `json:"guards,omitempty"`
	// Uses are the statements of the rules, each once a chain: those whose level is
	// unknown, those that need more than stateless, the highest level first, then the
	// other matches and targets of x_tables. Of a large table they are the first few.
	Uses []Use `json:"uses,omitempty"`
	// MoreGuards and MoreUses count those that are not listed, the uses by their level.
	MoreGuards int           `json:"moreGuards,omitempty"`
	MoreUses   map[Level]int `json:"moreUses,omitempty"`
}

// Title names the table with its backend: "nft table inet web".
func (t Table) Title() string { return fmt.Sprintf("%s table %s %s", t.Backend, t.Family, t.Name) }

// Use is one statement of a rule and the level that it needs: "ct state" needs
// stateful.
type Use struct {
	// Level is LevelUnset where nfsync does not know the statement, such as that of a
	// module from outside of the kernel: it may need any.
	Level Level `json:"level,omitempty"`
	// Chain is the name of the rule's chain; of what is in no rule "set", "object" or
	// "flowtable", a space, and its name.
	Chain string `json:"chain"`
	What  string `json:"what"`  // the expression, match or target: "ct", "xt match conntrack", "masq"
	Count int    `json:"count"` // rules of the chain that hold it
}

// Place names where in its table the use is, as nft(8) does: "chain input", "set seen",
// "object ftp", "flowtable fast".
func (u Use) Place() string {
	kind, _, more := strings.Cut(u.Chain, " ") // no name of a chain has a space
	if more && slices.Contains([]string{"set", "object", "flowtable"}, kind) {
		return u.Chain
	}
	return "chain " + u.Chain
}

// Level returns the level that the table uses, or at least uses if one of its uses is
// unknown: that of its highest use; stateless for any other rule or a guard; disabled for
// an empty table.
func (t Table) Level() Level {
	level := LevelDisabled
	if t.Rules > 0 || len(t.Guards) > 0 {
		level = LevelStateless
	}
	for _, u := range t.Uses {
		level = max(level, u.Level)
	}
	for more := range t.MoreUses {
		level = max(level, more)
	}
	return level
}

// Level returns the level that the rules use, or at least use if they could not all be
// read or some are unknown.
func (r Rules) Level() Level {
	level := LevelDisabled
	for _, t := range r.Tables {
		level = max(level, t.Level())
	}
	return level
}

// maxNamed bounds the uses that a text names.
const maxNamed = 3

// UnknownUses names the uses whose level is unknown, with their places: the first few, and
// how many others there are. It is empty if nfsync knows all.
func (r Rules) UnknownUses() string {
	var list []string
	for _, t := range r.Tables {
		for _, u := range t.Uses {
			if u.Level == LevelUnset {
				list = append(list, fmt.Sprintf("%s in %s of the %s", u.What, u.Place(), t.Title()))
			}
		}
	}
	return FirstFew(list, maxNamed)
}

// Value returns the level that the rules use as a value; unknown if they could not all be
// read, or if nfsync does not know all that they use and what it knows is below full.
func (r Rules) Value() Value {
	if r.Unknown != "" {
		return Unknown(r.Unknown)
	}
	if uses := r.UnknownUses(); uses != "" && r.Level() < LevelFull {
		return Unknown("nfsync does not know which level this needs: " + uses)
	}
	return r.Level().Value()
}
