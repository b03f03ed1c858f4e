# vm: boots=2
# vm: systemd
# The power fails at each step of an apply that loads, sets, saves, unloads and blocks
# modules: before each call that changes a file, a value or a module, from before the
# first intent until after the end of the journal. The next start has the disk of that
# moment, and one apply makes all changes.

# clean: unloads all modules, as at the start of a machine.
clean() {
	rmmod nf_conntrack_ftp nf_conntrack ip_set nfnetlink nf_defrag_ipv6 nf_defrag_ipv4 libcrc32c 2>/dev/null || true
	[ -z "$(netfilter)" ] || fail "still loaded: $(netfilter)"
	rm -rf /run/nfsync
}

# restart STEP: after a start with this disk the boot files are whole, and an apply
# makes all changes.
restart() {
	echo "= before $1"
	for file in modprobe.d/nfsync.conf modules-load.d/nfsync.conf sysctl.d/90-nfsync.conf; do
		[ -e /etc/$file ] || fail "there is no /etc/$file"
		! grep -vxFf /lines /etc/$file || fail "/etc/$file has another line"
		! grep -vxFf /etc/$file /same/$file || fail "/etc/$file lacks a line"
	done
	read_boot_files
	apply 0
	hasnt '^(failed|undone|stuck|refusal)'
	loaded nf_conntrack nf_conntrack_ftp
	unloaded ip_set
	reads ${conntrack}_max 50000
	diff -r /after /disk/etc || fail "the boot files differ from those without the power cut"
	clean
}

case $BOOT in
1)
	policy <<P
modules:
  nf_conntrack: loaded
  ip_set: {state: loaded, parameters: {max_sets: 300}}
conntrack: {max: 40000}
P
	apply 0
	cp -r /disk/etc /disk/before
	policy <<P
modules:
  nf_conntrack: loaded
  nf_conntrack_ftp: {state: loaded, parameters: {ports: "2121"}}
  ip_set: unloaded
conntrack: {max: 50000}
P
	cp -r /policy /disk/policy
	sync
	exits 0 steps nfsync apply /policy --yes -o json
	to_lines
	count 3 '^applied node boot:'
	has '^applied node module/ip_set loaded -> unloaded'
	hasnt '^(failed|undone|refusal)'
	cp -r /disk/etc /disk/after
	;;
2)
	# The steps include every kind of call.
	[ "$(wc -l </vm/copies)" -ge 15 ] || fail "only $(wc -l </vm/copies) steps leave different disks"
	cp /vm/copies /tmp/out
	has 'write /var/lib/nfsync/\.journal\.[0-9]+\.tmp'
	has 'write /proc/.*/nf_conntrack_max'
	has 'finit_module .*/nf_conntrack_ftp.ko'
	has 'renameat /etc/sysctl.d/.90-nfsync.conf.[0-9]+.tmp'
	has 'renameat /etc/modprobe.d/.nfsync.conf.[0-9]+.tmp'
	has 'renameat /etc/modules-load.d/.nfsync.conf.[0-9]+.tmp'
	has 'delete_module ip_set'
	has 'fsync /var/lib/nfsync/journal(,|$)'

	cp -r /disk/policy /disk/before /disk/after /
	unmount_disk
	clean # unload what this start has loaded
	sort -u /before/*/* /after/*/* >/lines
	for dir in modprobe.d modules-load.d sysctl.d; do
		mkdir -p /same/$dir
		for file in $(ls /after/$dir); do grep -hxFf /after/$dir/$file /before/$dir/* >/same/$dir/$file || true; done
	done
	n=0
	while read -r step; do
		n=$((n + 1))
		mount_disk $n
		restart "$step"
		unmount_disk
	done </vm/copies
	mount_disk 0
	restart "the end"
	unmount_disk
	;;
esac
