package nf

// Ask says what an observation must hold. The node's own facts and the
// identity of every container are always observed.
type Ask struct {
	// All asks for everything, as the snapshot that a node publishes holds it.
	All bool
	// Modules are the modules whose parameters matter, by name or alias.
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
}
