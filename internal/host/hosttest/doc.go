// Package hosttest has a machine in memory, with the methods of the real machine of
// package host, and the conformance suite that both machines pass.
//
// The machine in memory is no mock: it holds values, changes them, and refuses what
// a kernel refuses. A test creates a node with New, changes it as another program
// would (Put, SetRules, Stop, Remove), makes calls fail with Inject, and reads the
// outcome with Value or an observation.
package hosttest
