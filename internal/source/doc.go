// Package source fetches the policies of a git repository: the files of one commit,
// verified, and read from its tree without a checkout.
//
// # A process of its own
//
// Fetch starts this program again (RunChild). That child does everything that deals with
// a server: a fetch must end in time and within 150 MiB whatever the server does, and
// go-git promises neither. Over ssh it ignores its context, so that a silent server
// blocks it for ever. It holds the list of references and whole objects in memory, and a
// pack of some MiB can inflate to gigabytes. A goroutine cannot be killed and its memory
// cannot be bounded; a process can. The bounds are, from the outside in:
//
//   - the parent kills the child at the deadline of its URL, or when its resident
//     memory is above maxResident;
//   - the kernel refuses the child more data than maxData (RLIMIT_DATA). The
//     address space is not bounded (RLIMIT_AS): Go reserves much that it never uses;
//   - the bytes from the network are counted (budget), a pack is written to disk as it
//     arrives, and its objects are checked, one at a time, before go-git indexes it
//     (checkPack).
//
// The last bound stops nearly every hostile server, with a message that says what it
// did; the others are for what it misses. The child reads its request from standard
// input, with names of secret files and never secrets, answers on standard output, and
// ends when its parent does.
//
// # The clone
//
// For each URL there is a bare repository below Config.Dir: a cache, under a lock, that
// is not trusted. Every object that is read is hashed. If one is missing or wrong, a new
// clone is made beside the old one and renamed into its place. The first fetch of a
// reference takes no history; later ones take what is new, and send the server the
// commits at which the history of the clone ends. If ancestry must be proved and the
// history is too short, it is deepened step by step. A repository of this machine is read
// in place.
//
// # What may be followed
//
// A branch only moves forward from the Position of its URL and name that the caller
// remembers, unless a person accepts the very commit. Then signatures are verified; only
// then the tree is read. This package parses no policy.
package source
