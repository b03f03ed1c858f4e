// Package vz lists, enters and changes the containers of Virtuozzo 7, VHS 7 and OpenVZ 7. The
// kernels of later versions have no masks: there it reports that no level can be set.
//
// Observing reads files and runs prlctl and vzlist once for all containers. Each change runs
// one program. The files and programs of Virtuozzo are below one root. Processes are read from
// nfsync's own procfs, which must show those of the node.
package vz
