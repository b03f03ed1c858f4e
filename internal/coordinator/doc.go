// Package coordinator rolls the commits of a branch out to a fleet. It follows the branch, decides with
// package rollout, and writes the roll-out document and restart grants to the fleet's store, signed.
//
// # What makes it safe
//
// Each write of the roll-out document is a compare-and-set on the document that was decided on. Several
// coordinators may run, and any of them may stop at any point: all that is decided is in the document. The
// lease only saves them from doing the same work.
//
// Nothing that the store says is believed by itself. A document that is not signed with the coordinator's key
// is left as it is, and nothing is written. If a node has had a document with a higher generation than the
// store's, the store is an older copy: the roll-out is halted above that generation, and a person decides.
//
// What nodes have put is read again each second, and not watched: a read that does not come back shows that the
// store cannot be reached, and then nothing is decided.
package coordinator
