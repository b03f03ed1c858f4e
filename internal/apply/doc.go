// Package apply plans and makes changes. It is the only room that makes changes
// happen, and the only one that goes from facts to a plan: list, resolve, observe,
// remember, plan. A run takes the lock, settles what an interrupted run has left,
// plans, and checks that a saved plan is not stale. Then, for each change: the
// intent on the disk, the rules once more, the change, and the value read back.
//
// # Undo
//
// The unit of undo is one target. If a change fails, the changes of its target
// that this run has made are made again with from and to exchanged, in reverse
// order; other targets go on. A one-way change is never undone. What cannot be
// undone is stuck: it is saved, and later runs change nothing of that target until
// a person has settled it or its instance has ended. A value that something else
// writes too is not stuck: it is drift, which the next run finds. Nor is a saved
// level of a container that reads as wanted: it has no effect until a cold start,
// and the next run goes on from there.
//
// # Side by side
//
// The changes of containers that follow each other in the plan, without one of the
// node between them, rely on none of each other: each container has its own. Several
// containers are changed at once then. One goroutine at a time uses the run, its
// snapshot and its files; it lets another one in only while a program saves a level.
// Intents are durable before, undo stays with the target, and the receipt has the
// order of the plan. Restarts are made one at a time.
//
// # The journal
//
// All intents of a run are durable before its first change, in one record with
// one fsync, and the end of the run is one more: a thousand changes cost as many
// fsyncs as one. Only restarts are written between the changes. After a crash the
// machine itself is read: a value reads as before, as wanted, or as something
// else. That is enough, whichever of the changes had been begun:
//
//   - A target whose values all read as before was not changed. One whose values
//     all read as wanted is done. Any other is undone or, if the rules forbid that
//     because other targets rely on it by now, finished.
//   - A crash during an undo or a recovery leaves such a target again.
//   - A live value ends with its instance: a target that was restarted since, or
//     has vanished, is settled.
//
// The journal must know one thing beforehand, the value before the change. A
// module that is loaded brings values that nobody could read before. The intents
// of such values have no from, which means that the change was not made. Once the
// module is loaded they are read, and a second record adds their from before the
// first of them is changed.
//
// # Confirmation
//
// A run with a time limit for its confirmation stays open when its changes are made: the
// journal says so, and until when they wait. Memory, the last good revision and the
// position of its branch are kept in a file beside. Who decides first, the
// confirmation or the taking back, writes that to the journal, and a crash changes nothing
// about it: the next run goes on from there. A run that has crashed before its changes
// were made cannot have been confirmed, and is taken back also where all reads as wanted.
// Changes are undone one by one in the reverse order of the plan, and not by target: so the
// node goes back through states that the rules have allowed. What something else has
// changed since is left.
//
// # Restarts
//
// A restart of a container is never undone, and is made at most once for a want,
// over any number of crashes. Before it is made, memory has an entry with the want
// and the instance that is to end: the restart has begun. When the program has
// ended, the container is read. If the instance is the same, the restart was not
// made, and the entry is dropped: a lock that refuses a restart costs nothing. If
// it is another, the restart was made, and the entry gets the instance and the
// level that were seen. No restart is made for that want any more, whatever level
// is live. If a run was interrupted after the entry, the next one waits for the end
// of the program, which holds the lock as long as it works, and reads the
// container in the same way; what was saved for the restart stays. A container
// that is not running then is not started.
//
// What was set in the container's namespace ends with its instance. After the
// restart the limits and timeouts of the new one are planned again and made, with
// intents of their own. Memory has each value with its instance, so that the next
// run sets what this one could not, because of the restart.
//
// If a container with intents cannot be read, as it is in transition, nothing of
// it is settled: the run ends with an error, and the next one tries again.
//
// # The end
//
// The end of a run is written last: what is stuck, memory, the receipt, and then
// that the run is no longer open. After a crash before that, the recovery finds
// each value as wanted.
package apply
