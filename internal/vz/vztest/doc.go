// Package vztest is a node of Virtuozzo 7 for tests: its files below one root,
// the programs prlctl, vzctl and vzlist, and containers whose init processes
// are real, each in a network namespace of its own.
//
// A test binary is the programs as well, by the names under which they lie in
// the root: its TestMain calls Main before anything else. A program only passes
// its arguments on; the node itself, which lives in the test's process, does
// what the real one does, writes the files, and says what to print. So a test
// can misuse it at any moment, and no process outlives it.
//
// Each behaviour names the vendor's source that it models, of the branches
// vz7-u22 of prlctl, vzctl and libvzctl, and of the Virtuozzo 7 kernel.
package vztest
