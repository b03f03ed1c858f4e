// Package vz has the containers of Virtuozzo 7, VHS 7 and OpenVZ 7. On later versions,
// whose kernels have no masks, it says so.
//
// Observing reads files and runs prlctl and vzlist once for all containers; each change
// runs one program. The files and programs of Virtuozzo are below one root; processes are
// in nfsync's own procfs, which must show those of the node.
package vz
