// Package source brings the policies of a git repository: the files of one
// commit, read from its tree without a checkout, and verified.
//
// # A process of its own
//
// Fetch starts this program again (RunChild) and has that child do all that
// deals with a server: a fetch must end in time and within 150 MiB whatever the
// server does, and go-git promises neither. Over ssh it does not look at its
// context, so that a server that is silent holds it for ever; it keeps the list
// of references and whole objects in memory, and a pack of some MiB can inflate
// to gigabytes. A goroutine cannot be ended and its memory cannot be bounded; a
// process can. The bounds are, from the outside in:
//
//   - the parent kills the child when the time of its URL is over, or when its
//     resident memory is seen above maxResident;
//   - the kernel refuses the child more data than maxData (RLIMIT_DATA). The
//     address space is not bounded (RLIMIT_AS): Go reserves much that it never uses;
//   - what the network delivers is counted (budget), a pack is written to disk
//     as it comes, and its objects are looked at, one at a time and without
//     keeping them, before go-git indexes it (checkPack).
//
// The last is what ends nearly every hostile server, with a message that says
// what it did; the others hold where it does not. The child gets its request on
// standard input, with names of secret files and never secrets, answers on
// standard output, and ends when its parent does.
//
// # The clone
//
// For each URL there is a bare repository below Config.Dir: a cache, under a
// lock, of which nothing is trusted. Every object that is read is hashed; whatever is
// missing or wrong has the clone made anew beside it and put in its place by a
// rename. The first fetch of a reference takes no history; the next ones take
// what is new, and tell the server where the history of the clone ends. Where
// ancestry must be proved and the history does not suffice, it is deepened
// step by step. A repository of this machine is read where it is.
//
// # What may be followed
//
// A branch only moves forward from the Position of its URL and name that the
// caller remembers, unless a person accepts the very commit. Then signatures are
// verified; only then the tree is read, and nothing of it is parsed here.
package source
