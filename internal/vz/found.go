package vz

// Found is what of Virtuozzo there is on a node.
type Found struct {
	Any bool // anything at all
	// Programs are the paths of those that are there, by name; Missing are the
	// names of the others.
	Programs map[string]string
	Missing  []string
	// Cgroup is where the ve cgroup is; where it is empty NoCgroup says why.
	Cgroup, NoCgroup string
}

// Found looks what of Virtuozzo is there. It runs nothing.
func (r Runtime) Found() Found {
	n := r.node()
	f := Found{Any: n.virtuozzo(), Programs: map[string]string{}, Cgroup: n.cgroup, NoCgroup: n.noCgroup}
	for _, name := range []string{prlctl, vzctl, vzlist} {
		if path := n.tree.program(name); path != "" {
			f.Programs[name] = path
		} else {
			f.Missing = append(f.Missing, name)
		}
	}
	return f
}
