# Resets the machine between cases: sourced by init.

# modules prints the loaded modules, sorted.
modules() { cut -d' ' -f1 /proc/modules | sort; }

# loaded MODULE: reports whether it is loaded.
loaded() { grep -q "^$1 " /proc/modules; }

# reset removes everything that a case has made, and unloads the modules that it has
# loaded. It fails if a module stays loaded.
reset() {
	for ns in $(ls /run/netns 2>/dev/null); do ip netns del "$ns"; done
	! loaded nf_tables || nft flush ruleset
	for family in ip ip6; do
		[ -e /proc/net/${family}_tables_names ] || continue
		for table in $(cat /proc/net/${family}_tables_names); do
			for chain in INPUT FORWARD OUTPUT; do
				[ "$table" != filter ] || ${family}tables-legacy -P $chain ACCEPT
			done
			${family}tables-legacy -t "$table" -F
			${family}tables-legacy -t "$table" -X
		done
	done
	! loaded ip_set || ipset destroy
	for link in dummy0 dummy1 dummy2 veth0; do ip link del $link 2>/dev/null; done
	rm -rf /lib/modules/$(uname -r)/extra
	cp /vm/modules.* /lib/modules/$(uname -r)/
	rm -rf /tmp/* /policy /run/nfsync
	for dir in /etc/modprobe.d /etc/modules-load.d /etc/sysctl.d /var/lib/nfsync; do rm -rf $dir/*; done
	# The kernel removes a namespace in the background. Until then some modules are in use.
	for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		modules >/run/modules
		! cmp -s /vm/modules /run/modules || return 0
		rmmod $(unused | grep -vxFf /vm/modules) 2>/dev/null || sleep 0.2
	done
	echo "these modules stay loaded:" $(diff /vm/modules /run/modules | sed -n 's/^[<>]//p')
	return 1
}

# unused prints the loaded modules that nothing uses.
unused() {
	while read -r name _ refs _; do
		[ "$refs" != 0 ] || echo "$name"
	done </proc/modules
}
