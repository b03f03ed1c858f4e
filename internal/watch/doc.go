// Package watch reports what may wake the agent: files and directories that change, and kernel
// modules that come and go.
//
// A report is only a hint. Events can be lost and can repeat (inotify(7)), so whoever gets one
// reads the state again, and reads it from time to time without one.
package watch
