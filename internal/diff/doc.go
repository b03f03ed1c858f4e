// Package diff compares wants with a snapshot and returns a plan. It is pure and
// total: no clock, no I/O, no error.
//
// rules.go is the table of what is impossible. The same rules give the reason of a
// refusal, order the changes so that every prefix of a plan leaves the node in a state
// that the kernel allows, and are tried again just before each change is made.
package diff
