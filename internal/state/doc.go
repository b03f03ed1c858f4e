// Package state keeps what must not be lost, in one directory: the memory of
// earlier runs, the journal of the run under way, what a failed undo left, the
// last receipts, and of git the last good revision and what was applied of each
// branch.
//
//	memory     nf.Memory: what was last asked and applied
//	stuck      what a failed undo left, until a person accepts it
//	lastgood   the last good revision, with its policies
//	positions  the commit that was applied last, of each URL and branch
//	receipts/  what the last runs did, the newest hundred
//	journal    the intents of the last run, and whether it came to its end
//
// All but the journal are JSON documents in an envelope with a checksum. They
// are written to a temporary file, fsynced and renamed, and the directory is
// fsynced after that: who reads sees the old file or the new one, never half a
// file, and after a power cut too. The journal begins in the same way, with all
// the intents of a run, and has its end appended and fsynced.
//
// A file that is missing is empty: nothing has happened yet. One that cannot be
// read, or whose checksum is wrong, or whose format this program does not know,
// is an error that names the file and the remedy, never an empty start.
//
// There is one writer at a time: package apply holds the lock. Reading needs no
// lock.
package state
