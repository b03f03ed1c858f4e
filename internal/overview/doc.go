// Package overview counts and sorts what the nodes of a fleet have said, as the documents that people and
// programs read. It is pure: what was read from the store, and when, goes in.
package overview
