package nf

// Given is a container that is being made, as a hook of its runtime gives it. It is given by its first
// process, or by the file of its network namespace.
type Given struct {
	Runtimes []string `json:"runtimes"` // of which the hook is: the container is one of the first that knows it
	ID       string   `json:"id"`
	Name     string   `json:"name,omitempty"` // empty: its runtime knows it
	Aliases  []string `json:"aliases,omitempty"`
	PID      int      `json:"pid,omitempty"`
	File     string   `json:"file,omitempty"`   // an absolute path
	Bundle   string   `json:"bundle,omitempty"` // the directory with the configuration for an OCI runtime; empty: not known
}

// Birth is what became of a container that a hook has given, before its program runs.
type Birth struct {
	Container string `json:"container"` // as Target.String has it
	Changes   int    `json:"changes"`   // that were made
	// Nothing says why nothing was to be done; empty if that is not so.
	Nothing string `json:"nothing,omitempty"`
	// Problems says what is not as wanted, and why.
	Problems []string `json:"problems,omitempty"`
	// NotReady reports whether the agent has no revision that it could enforce.
	NotReady bool `json:"notReady,omitempty"`
}
