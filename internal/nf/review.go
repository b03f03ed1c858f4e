package nf

// KindReview is the kind of a Review.
const KindReview = "Review"

// Review is what a change of the policies brings to nodes: the Review document. Its slices are
// never nil.
type Review struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Base and Revision are the commits of the policies before and after the change; empty if
	// they are of a directory.
	Base     string        `json:"base"`
	Revision string        `json:"revision"`
	Nodes    []NodeReview  `json:"nodes"` // by name
	Summary  ReviewSummary `json:"summary"`
}

// NodeReview is what a change of the policies brings to one node.
type NodeReview struct {
	NodeSnapshot
	// Brings is what the change brings, and Ends what it ends: changes that are made, or
	// refused, only with the policies after or before it.
	Brings Differences `json:"brings"`
	Ends   Differences `json:"ends"`
	// Anyway is what is different with the policies before and after it.
	Anyway Differences `json:"anyway"`
	// Pending and Warnings are those after the change.
	Pending  []Pending `json:"pending"`
	Warnings []Warning `json:"warnings"`
}

// Differences are changes that are to be made, and refusals.
type Differences struct {
	Changes  []Change  `json:"changes"`
	Refusals []Refusal `json:"refusals"`
}

// ReviewSummary counts the nodes, and the entries of all of them.
type ReviewSummary struct {
	Nodes    int              `json:"nodes"`
	Affected int              `json:"affected"` // to which the change brings something, or of which it ends something
	Failed   int              `json:"failed"`
	Brings   DifferenceCounts `json:"brings"`
	Ends     DifferenceCounts `json:"ends"`
	Anyway   DifferenceCounts `json:"anyway"`
}

// DifferenceCounts counts differences.
type DifferenceCounts struct {
	Changes  int `json:"changes"`
	Refusals int `json:"refusals"`
}

func (c *DifferenceCounts) add(d Differences) {
	c.Changes, c.Refusals = c.Changes+len(d.Changes), c.Refusals+len(d.Refusals)
}

// Summarize counts.
func (r *Review) Summarize() {
	r.Summary = ReviewSummary{Nodes: len(r.Nodes)}
	s := &r.Summary
	for _, n := range r.Nodes {
		if n.Error != "" {
			s.Failed++
		}
		if len(n.Brings.Changes)+len(n.Brings.Refusals)+len(n.Ends.Changes)+len(n.Ends.Refusals) > 0 {
			s.Affected++
		}
		s.Brings.add(n.Brings)
		s.Ends.add(n.Ends)
		s.Anyway.add(n.Anyway)
	}
}
