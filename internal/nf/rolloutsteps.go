package nf

import (
	"math"
	"strconv"
)

// StepCanaries is the name of the step of the canaries.
const StepCanaries = "canaries"

// HasCanaries reports whether the first step of a roll-out is that of the canaries: a group has some.
func (p RolloutPlan) HasCanaries() bool {
	if p.Canaries > 0 {
		return true
	}
	for _, g := range p.Groups {
		if g.Canaries != nil && *g.Canaries > 0 {
			return true
		}
	}
	return false
}

// StepNames returns the names of the steps in their order: canaries, if there are any, and then the fractions as
// percentages. PauseBefore and RolloutDocument.Step are indexes of it.
func (p RolloutPlan) StepNames() []string {
	var names []string
	if p.HasCanaries() {
		names = append(names, StepCanaries)
	}
	for _, f := range p.Fractions {
		names = append(names, Percent(f))
	}
	return names
}

// Percent returns a fraction as a percentage: 1%, 0.5%.
func Percent(fraction float64) string {
	return strconv.FormatFloat(math.Round(fraction*1e7)/1e5, 'f', -1, 64) + "%"
}
