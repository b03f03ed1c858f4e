// Package source fetches the policies of a git repository: the files of one commit,
// verified, and read from its tree without a checkout.
//
// # The child process
//
// Fetch starts this program again as a child (RunChild), which does all work with a server.
// A fetch must end in time and stay within 150 MiB whatever the server does. go-git
// guarantees neither: over ssh it ignores its context, it holds the list of references and
// whole objects in memory, and a pack of some MiB can inflate to gigabytes. A goroutine
// cannot be killed and its memory cannot be bounded; those of a process can. The bounds are:
//
//   - The parent kills the child at the deadline of its URL, or when its resident memory
//     exceeds maxResident.
//   - The kernel limits the data of the child to maxData (RLIMIT_DATA). The address space
//     is not limited (RLIMIT_AS), because Go reserves more than it uses.
//   - The bytes from the network are counted (budget). A pack is written to disk as it
//     arrives, and its objects are checked one at a time before go-git indexes it
//     (checkPack).
//
// The last bound stops nearly every hostile server, with a message that names the cause. The
// others are for what it misses. The child reads its request from standard input, with the
// names of secret files but no secrets. It answers on standard output, and ends when its
// parent ends.
//
// # The clone
//
// For each URL there is a bare repository below Config.Dir, under a lock. It is a cache and
// not trusted: every object that is read is hashed. If one is missing or wrong, a new clone
// is made beside the old one and renamed into its place. The first fetch of a reference
// takes no history. Later ones take what is new, and send the server the commits at which
// the history of the clone ends. If ancestry must be proved and the history is too short,
// it is deepened step by step. A repository of this machine is read in place.
//
// # Publications
//
// Publish pushes what a node publishes: a commit without parents, on a branch of the node's own. Its message
// says whose it is. The child pushes it, within the same bounds. It replaces the branch only if the commit
// there is one that this machine has pushed, or, where the caller does not know what it has pushed, one that
// says so; and the server replaces it only if it has not changed since. OpenNodes fetches these branches, in a child too,
// and the caller reads one snapshot after the other.
//
// # Which commits are accepted
//
// Commits, trees and tags are parsed by this package, from the bytes that are hashed and
// verified. What git fsck calls an error is refused (canonical.go). Signatures are read as
// strictly (armor.go, pgpsignature.go).
//
// The new commit of a branch must descend from the Position that the caller has stored for
// its URL and name, unless a person has accepted that commit by its hash. Then signatures
// are verified, and only then the tree is read. This package parses no policy.
package source
