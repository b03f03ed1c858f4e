// Package kernel reads and changes one Linux kernel: its modules, the
// conntrack values below /proc/sys/net/netfilter, and the netfilter rules of
// one network namespace.
//
// Files are named after the kernel files they read. A public reader builds the path
// below the roots of an FS, a private parseX parses the bytes. Absence is an answer: a
// kernel without module support is a fact, not an error. A value that could not be read
// is unknown, never off.
package kernel
