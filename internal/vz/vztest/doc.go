// Package vztest is a Virtuozzo 7 node on an ordinary Linux: the programs
// prlctl, vzctl and vzlist, the files that they and the kernel keep, and
// containers that are real processes in real network namespaces. It stands in
// for what cannot be had without Virtuozzo's own kernel and tools.
package vztest
