//go:build vm

// Package vm_test runs nfsync on kernels that load modules: Debian's cloud
// kernels, booted by qemu without KVM, with the real ip, nft, iptables,
// conntrack, ipset, kmod, systemd-modules-load and systemd-sysctl. `make test-vm` runs it.
//
// Each file of testdata/cases is a case: a dash script that changes the machine,
// runs nfsync, and checks the result with the functions of testdata/guest/vm/lib.sh.
// Lines of the form "# vm: WORD=VALUE" say what the case needs:
//
//	# vm: boot=own         a boot of its own
//	# vm: boots=N          N boots with one disk; BOOT is the number of the boot
//	# vm: append=WORD      on the kernel's command line; implies boot=own
//	# vm: systemd          at each boot systemd-modules-load and systemd-sysctl
//	                       run before the case does; implies boot=own
//	# vm: pid1             systemd is the first process at each boot, with
//	                       nfsync-boot.service; implies boot=own
//
// All other cases share one boot of a kernel. After each case the machine is
// reset, and a module that stays loaded fails the case.
//
// The directories of the boot files and nfsync's state directory are on a disk. It
// stays the same over all boots and power cuts of a case. A case that runs nfsync
// under steps (testdata/steps) has copies of that disk in its next boot. Each copy
// is the disk that a power cut at one step could have left.
package vm_test
