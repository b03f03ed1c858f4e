// Package netns lists named network namespaces as containers, and enters network namespaces
// for the other packages. A named network namespace is a file in a directory (/run/netns), with
// the namespace bind-mounted on it as ip-netns(8) does, or a symbolic link to such a file.
//
// A network namespace is identified by the kernel's numbers, never by its name. No file of a
// namespace stays open: an open file would keep the namespace alive (namespaces(7)).
package netns
