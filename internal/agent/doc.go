// Package agent takes a node from a commit to an applied state. It decides when
// something is applied, and never what.
//
// # A lap
//
// A lap fetches a revision, verifies it and parses its policies. Then, under the
// node's lock, it saves the revision as the last good one, applies it, and saves
// the commit as the position of its branch.
//
//   - A revision is good if it was fetched and verified and its policies are valid,
//     even if this node cannot apply all of it: the next lap tries again. It is
//     saved before it is applied. After a crash in between, a node without a
//     network still applies the new revision, and not the older one.
//   - A commit counts as applied when a run with it has ended, whatever the run
//     refused or undid. From then on, its branch is followed by fast-forwards of
//     that commit only. A commit whose run never ended (its policies were invalid,
//     or another nfsync was at work) is not a position: its author may rewrite it.
//   - A tag or a commit is taken as named and has no position.
//
// # The last good revision
//
// If the new revision cannot be fetched, verified, followed or parsed, the last
// good one is applied instead. This corrects drift, and the lap says why the new
// revision is not in force. The node has one last good revision, whatever
// repository it came from. It stays in force until another one is good.
package agent
