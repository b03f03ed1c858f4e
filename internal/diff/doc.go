// Package diff decides: wants against a snapshot give a plan. It is pure and
// total: no clock, no I/O, no error.
//
// rules.go is the table of what is impossible. The same rules say why a
// difference is refused, order the changes so that every prefix of a plan
// leaves the node in a state that the kernel allows, and are asked again just
// before each change is made.
package diff
