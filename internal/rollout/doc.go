// Package rollout decides how a revision reaches the nodes of a fleet. It is pure: documents, what nodes
// have reported and the time go in, the next document comes out. It has no clock, no I/O and no state.
package rollout
