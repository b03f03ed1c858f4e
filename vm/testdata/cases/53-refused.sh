# vm: boots=2
# vm: systemd
# A firewall whose modules could not be unloaded can be loaded again after the next
# start: a refused unload does not block its modules.

load() {
	nft -f - <<R
table inet fw {
	chain input {
		type filter hook input priority 0; policy drop;
		ct state established accept
	}
}
R
	iptables-legacy -A INPUT -m recent --set
}

case $BOOT in
1)
	policy <<P
level: stateful
P
	apply 0
	load
	policy <<P
level: disabled
modulesAboveLevel: unload
modules: {nf_conntrack: unloaded, nft_ct: unloaded, xt_recent: unloaded, nft_limit: unloaded}
P
	apply 3
	for module in nf_tables nf_conntrack nft_ct xt_recent; do
		! grep "$module" /etc/modprobe.d/nfsync.conf || fail "$module is blocked"
	done
	# A module that was not loaded is blocked.
	has '^applied node boot:module/nft_limit null -> unloaded'
	has '^refusal node module/nft_ct in-use'
	cat /tmp/out
	pkt reach 3 >/tmp/out
	is <<O
0
O
	;;
2)
	load
	nft list ruleset >/tmp/out
	has 'policy drop'
	has 'ct state established accept'
	iptables-legacy -S >/tmp/out
	has 'recent'
	loaded nf_tables nf_conntrack nft_ct xt_recent
	[ "$(pkt reach 3)" = 0 ] || fail "the firewall is open"
	;;
esac
