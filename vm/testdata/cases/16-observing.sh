# Observing loads nothing: neither if nothing is loaded, nor if everything is.

ip netns add c1
policy <<P
level: full
conntrack: {max: 1000}
modules: {ip_set: unloaded, nf_tables: unloaded}
P
containers <<P
level: stateful
conntrack: {timeouts: {udp: 20s}}
P
observe() {
	cut -d' ' -f1,3,4,5 /proc/modules | sort >/tmp/before
	nfsync plan /policy -o json >/dev/null || true
	snapshot
	nfsync doctor >/dev/null || true
	cut -d' ' -f1,3,4,5 /proc/modules | sort >/tmp/after
	diff /tmp/before /tmp/after || fail "observing has changed the modules"
}
observe
[ -z "$(netfilter)" ] || fail "loaded: $(netfilter)"
has '^tracking node off '
modprobe -a nf_tables iptable_filter ip6table_nat nf_conntrack nft_ct
observe
unloaded nf_conntrack_netlink iptable_nat ip6table_filter arp_tables
