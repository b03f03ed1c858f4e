package nf

// StuckChange is a change of an earlier run that could be neither made nor undone. It holds
// back all changes of its target until a person has settled it or its instance has ended.
//
// A restart that has left its container down is one too. It holds back the restarts of all
// containers, until a person has settled it or the container runs again.
type StuckChange struct {
	Target Target `json:"target"`
	Key    Key    `json:"key"`
	Layer  Layer  `json:"layer"`
	From   Value  `json:"from"`
	To     Value  `json:"to"`
	Reads  Value  `json:"reads"` // after the last attempt
	// Run is the id of the receipt of that run.
	Run string `json:"run"`
	// Instance is that of the target, and BootID that of the node. A live value ends with
	// either.
	Instance string `json:"instance"`
	BootID   string `json:"bootID"`
	Why      string `json:"why"`
}

// Holds reports whether the target of the change is in the snapshot as the instance that
// the change was tried on. A value in the boot layer does not end with an instance, and a
// restart ends when the container runs.
func (c *StuckChange) Holds(s *Snapshot) bool {
	now, ok := s.Instance(c.Target)
	if c.Key == KeyRestart {
		_, at, _ := s.Find(c.Target)
		return at != nil && !at.Up()
	}
	return ok && (c.Layer == LayerBoot || now == c.Instance && s.BootID == c.BootID)
}

// Change returns the change that was tried.
func (c *StuckChange) Change() Change {
	return Change{Target: c.Target, Key: c.Key, Layer: c.Layer, From: c.From, To: c.To}
}

// SetKinds gives the values of a change that was read from JSON the kinds of its key: see
// Value.As.
func (c *StuckChange) SetKinds() {
	c.From, c.To, c.Reads = c.From.As(c.Key), c.To.As(c.Key), c.Reads.As(c.Key)
}
