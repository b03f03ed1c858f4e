// Package netns has the containers that are named network namespaces, as
// ip-netns(8) and whatever follows it makes them: a file in a directory
// (/run/netns), with the namespace bind-mounted on it or a symbolic link to
// one. It also has the way into a namespace for every other room.
//
// A network namespace is identified by what the kernel says of it, never by
// its name. No file of a namespace is kept open: it would keep the namespace
// alive (namespaces(7)).
package netns
