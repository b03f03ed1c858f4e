// Package agent takes a node from a commit to an applied state: when, never
// what.
//
// # A lap
//
// Fetch, verify, parse; then, under the node's lock, the revision becomes the
// last good one, is applied, and its branch's position moves.
//
//   - A revision is good once it was fetched, verified and found valid. What of
//     it this node could apply does not matter: its policies are right, and the
//     next lap tries again. It is saved before it is applied, so that a crash or
//     a network that goes away in between does not bring the older one back.
//   - A commit counts as applied once a run with it has come to its end,
//     whatever was refused or undone. From then on its branch is followed by
//     fast-forwards of it only. A revision that was never run to its end (it was
//     invalid, another nfsync was at work) binds nobody: its author may rewrite it.
//   - Tags and commits are taken as named and have no position.
//
// # The last good one
//
// Where the new revision cannot be fetched, verified, followed or parsed, the
// last good one is applied instead: what drifted meanwhile is put right, and
// the lap says why it did not go forward. The node has one last good revision,
// whatever repository it came from: until another one is good it stays in force.
package agent
