// Package runtimes lists the containers of container runtimes that keep each container in a network
// namespace: Kubernetes' (cri), Docker, Podman, Incus, LXC and systemd-nspawn. It reads the files of
// their state. No daemon has to run, and none is started.
//
// What a runtime says leads to a process: the first one of a container, by its number and its start
// time. What the process is in is its network namespace, and the number that the kernel has given
// that is the instance of the container. Nothing shorter is believed. State stays behind when a
// runtime is killed, numbers of processes and inodes of namespaces are used again, paths with the
// number of a process lead to another process later, and names of cgroups are anybody's.
//
// A network namespace is one container. The containers that have joined it are other names of it.
// One that has joined a namespace whose first container has moved to another is a container itself.
//
// Each runtime has a file, with a few functions. What they have in common is in runtimes.go.
package runtimes
