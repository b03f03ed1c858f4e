// Package vz is the containers of Virtuozzo 7, VHS 7 and OpenVZ 7, and an honest
// answer on later ones, which keep no levels.
//
// Observing reads files and asks prlctl and vzlist once for all containers;
// changing runs one program a change. Everything of Virtuozzo is looked up below
// one root; processes are looked up in nfsync's own procfs, which must show the
// node's.
package vz
