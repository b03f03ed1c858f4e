//go:build runtimes

// Package runtimes_test runs nfsync beside real container runtimes: those of Debian, on nodes with
// systemd, which have the unified hierarchy of cgroups and a network namespace of their own.
// `make test-runtimes` runs it. It needs root, and apt the first time (scripts/runtimes-root.sh).
//
// A test makes something happen in a runtime and compares what nfsync lists with what it should:
//
//	d := newDocker(t, nil)
//	id := d.run("--name", "web", "--label", "app=web")
//	d.expect("started", "docker web running app=web")
//
// A runtime has a file, with the functions that start it and its containers, and its tests.
package runtimes_test
