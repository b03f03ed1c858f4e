// Package systemdtest starts a node with a real systemd, for tests of units, packages and documents.
//
// The node is a set of namespaces on this machine: systemd is its process 1, and its files are those
// of this machine with a layer of the node's own above them (overlayfs), so that nothing that is
// installed, written or removed there is seen outside. It has a boot id of its own once it was
// restarted. It has the unified hierarchy of cgroups alone, whatever this machine has: on a machine
// with both only the controllers that the old hierarchies do not use. It has the kernel and the network
// namespace of this machine: a test must use policies that change named network namespaces only, which
// are the node's own.
//
// Options of New give a node more files, and a network namespace of its own.
package systemdtest
