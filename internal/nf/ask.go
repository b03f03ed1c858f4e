package nf

import "slices"

// Ask says what an observation must hold. The node's own facts and the
// identity of every container are always observed.
type Ask struct {
	// All asks for everything, as for the snapshot that a node publishes.
	All bool
	// Modules are the modules whose parameters are asked, by name or alias.
	Modules []string
	// Keys are the keys asked of each container. A container that is not
	// named is only listed.
	Keys map[Target][]Key
	// Rules asks for the rules of every container, not only of those whose
	// level is asked: unloading a module must not lose any.
	Rules bool
	// Limits asks for conntrack.max and the number of live entries of every
	// container: lowering the node's limit must not go below any.
	Limits bool
	// Declared asks for what other programs set at the next start: keys of the node are wanted.
	Declared bool
	// NoBoot leaves out what is saved for the node's next start: the wants are of containers that
	// were born, which have no such values.
	NoBoot bool
}

// Need says what to read of one network namespace. All means every key, whatever Keys
// has.
type Need struct {
	Keys              []Key
	All, Rules, Count bool
}

// Nothing reports whether nothing is to be read.
func (n Need) Nothing() bool { return len(n.Keys) == 0 && !n.All && !n.Rules && !n.Count }

// Need returns what to read of a container of which these keys are asked. The rules need
// the number of entries with a limit, and with the tables to judge an unload.
func (a Ask) Need(keys []Key) Need {
	n := Need{Keys: slices.Clip(keys), All: a.All}
	n.Rules = a.All || a.Rules || slices.Contains(keys, KeyLevel)
	if a.Limits {
		n.Keys = append(n.Keys, KeyMax)
	}
	n.Count = n.Rules || slices.Contains(n.Keys, KeyMax)
	return n
}
