//go:build vm

// Package vm_test runs nfsync on kernels that load modules: Debian's cloud
// kernels, booted by qemu without KVM, with the real ip, nft, iptables,
// conntrack, ipset, kmod, systemd-modules-load and systemd-sysctl. `make test-vm` runs it.
//
// Each file of testdata/cases is a case: a script for dash that does something
// to the machine, runs nfsync, and says what is expected, with the words of
// testdata/guest/vm/lib.sh. Lines of the form "# vm: WORD=VALUE" say what it needs:
//
//	# vm: boot=own         a boot of its own
//	# vm: boots=N          N boots with one disk; BOOT tells the script which
//	# vm: append=WORD      on the kernel's command line; implies boot=own
//	# vm: systemd          at each boot systemd-modules-load and systemd-sysctl
//	                       run before the case does; implies boot=own
//
// All other cases share one boot of a kernel, and must leave it as they found
// it: the modules that they load are unloaded after each, and one that stays
// fails the case.
//
// The directories of the boot files and nfsync's state are on the disk, which
// outlives the boots of a case, and its power cuts. A case that runs nfsync
// under steps (testdata/steps) has copies of that disk in its next boot, each as
// a power cut at one step could have left it.
package vm_test
