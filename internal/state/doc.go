// Package state stores what must not be lost, in one directory: the memory of earlier
// runs, the journal of the current run, what a failed undo left, the last receipts, the
// last good revision and the last applied commit of each branch.
//
//	memory     nf.Memory: the last wishes and values
//	stuck      what a failed undo left, until a person accepts it
//	lastgood   the last good revision, with its policies
//	positions  the commit that was applied last, of each URL and branch
//	receipts/  what the last runs did, the newest hundred
//	journal    the intents of the last run, and whether it ended
//
// All but the journal are JSON documents in an envelope with a checksum. Package durable
// writes them: a reader sees the old file or the new one, never half a file, also after a
// power cut. The journal begins in the same way, with all the intents of a run; its end is
// appended and fsynced.
//
// A missing file counts as empty: nothing has happened yet. A file that cannot be read,
// has a wrong checksum or an unknown format is an error that names the file and the
// remedy, never an empty start.
//
// There is one writer at a time: package apply holds the lock. Reading needs no
// lock.
package state
