// Package hosttest has a machine in memory, with the same methods as the real
// one of package host, and the conformance suite that both of them pass.
//
// The machine is a small real thing: it keeps its values, refuses what a kernel
// refuses, and does what it is told, one call at a time. A test builds the node
// it needs from New, meddles with it as something else on a node would (Put,
// SetRules, Stop, Remove), makes single calls fail with Inject, and reads the
// outcome with Value or an observation.
package hosttest
