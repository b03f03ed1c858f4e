package vz

// Found lists what a node has of Virtuozzo.
type Found struct {
	Any bool // whether the node has anything of Virtuozzo
	// Programs are the paths of the programs that exist, by name; Missing are the names
	// of the others.
	Programs map[string]string
	Missing  []string
	// Cgroup is the root of the ve cgroup; if it is empty NoCgroup says why.
	Cgroup, NoCgroup string
}

// Found returns what the node has of Virtuozzo. It runs no program.
func (r Runtime) Found() Found {
	n := r.node()
	f := Found{Any: n.virtuozzo(), Programs: map[string]string{}, Cgroup: n.cgroup, NoCgroup: n.noCgroup}
	for _, name := range programs {
		if path := n.tree.program(name); path != "" {
			f.Programs[name] = path
		} else {
			f.Missing = append(f.Missing, name)
		}
	}
	return f
}
