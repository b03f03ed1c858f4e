// Package netns has the containers that are named network namespaces, as ip-netns(8) makes
// them: a file in a directory (/run/netns), with the namespace bind-mounted on it, or a
// symbolic link to one. Every other room enters namespaces through it.
//
// The kernel's numbers identify a network namespace, never its name. No file of a namespace
// stays open: it would keep the namespace alive (namespaces(7)).
package netns
