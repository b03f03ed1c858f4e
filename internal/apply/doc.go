// Package apply makes changes happen, and nothing else does: lock, recover,
// observe, plan, stale check; then for each change the intent on disk, the
// rules once more, the change, and a look at the machine after it.
//
// # Undo
//
// The unit of undo is one target. Where a change fails, those of its target
// that this run has made are made again with from and to exchanged, in reverse;
// other targets go on. What is one-way is never undone. What cannot be undone is
// stuck: that is kept on disk, and no run starts until a person has looked. A
// container's saved level that is what was wanted is not: it waits for a cold start,
// and the next run goes on from there.
//
// # The journal
//
// All intents of a run are durable before its first change, in one record with
// one fsync, and its end is one more: a thousand changes cost as many fsyncs as
// one. Nothing but restarts is written between the changes, because after a crash the
// machine itself is asked: a value reads as before, or as wanted, or as
// something else. That is enough, as it makes no difference which of the
// changes had been begun:
//
//   - A target whose values all read as before is as it was; one whose values
//     all read as wanted is done; any other is taken back, and where the rules
//     forbid that, because other targets rely on it by now, it is finished.
//   - A crash during an undo, or during a recovery, leaves such a target again.
//   - A live value is gone with the instance it was in: a target that has been
//     restarted since, or has vanished, is settled.
//
// There is one thing the journal must know beforehand, what a value was. A
// module that is loaded brings values that nobody could read before. Changes of
// such values are intents without a from, which means not made; when the module
// is there they are read, and a second record tells their from before the first
// of them is changed.
//
// # Restarts
//
// A restart of a container is never undone, and made at most once for a want,
// over any number of crashes. Before it is made, memory has an entry that names
// the want and the instance that is to end. Whether it was made is then seen from
// the container itself: its instance is the same, and the restart may be made; or
// it is another, and no restart is made for that want any more, whatever level is
// live. Where a run was cut after the entry, what it has saved for the restart
// stays: the program that restarts may have outlived nfsync, and still be at work.
// A container that is not running then is not started.
//
// What was set in the container's namespace ends with its instance. It is
// remembered as of that, so that the next run makes it again because of the
// restart.
//
// What is left in a container that cannot be read now, as it is on its way, is not
// settled: the run ends with an error, and the next one tries again.
//
// # The end
//
// The end of a run is written last: what was stuck, the memory, the receipt, and
// then that nothing is open any more. A crash before that is a recovery that
// finds each value as wanted.
package apply
