// Package fleet is how nodes, readers, operators and coordinators of a fleet talk to each other by NATS
// JetStream: names, options of connections, signatures, and what each of them may ask.
//
// Nothing that the store says is believed by itself: documents of the coordinator are signed, and a node
// that cannot reach the store, or finds nothing there, goes on with what is on its disk.
package fleet
