// Package vztest simulates a node of Virtuozzo 7 for tests: its files below one root, the
// programs prlctl, vzctl and vzlist, and containers with real init processes, each in a
// network namespace of its own.
//
// The test binary is also each of the programs, by its name in the root: TestMain must call
// Main before anything else. A program only sends its arguments to the node, which is in the
// process of the test. The node does what the real program does, writes the files, and sends
// the output. So a test can change the node at any moment, and no process outlives the test.
//
// Each behaviour names the vendor's source that it models: the branches vz7-u22 of prlctl,
// vzctl and libvzctl, and the Virtuozzo 7 kernel.
package vztest
