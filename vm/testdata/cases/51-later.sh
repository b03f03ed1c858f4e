# vm: boots=2
# vm: systemd
# Values of a module that is not loaded when the machine starts: they do not exist
# then. Once the module is loaded, by nfsync or another program, they are set.

P='conntrack: {max: 40000, buckets: 1000, timeouts: {udp: 20s}}'
values() {
	reads ${conntrack}_max 40000
	reads ${conntrack}_buckets 1024
	reads ${conntrack}_udp_timeout 20
	insync
}

case $BOOT in
1)
	echo "$P" | policy
	apply 3
	count 3 '^refusal node conntrack.* not-loaded: '
	count 3 '^applied node boot:conntrack.* null -> '
	;;
2)
	unloaded nf_conntrack
	grep -q '^net.netfilter.nf_conntrack_max = 40000$' /etc/sysctl.d/90-nfsync.conf
	echo "$P" | policy
	apply 3
	count 3 '^refusal node conntrack.* not-loaded: '
	hasnt '^(applied|failed)'
	[ -z "$(netfilter)" ] || fail "loaded: $(netfilter)"

	# Another program adds a rule, which loads the module.
	nft add table ip fw
	nft add chain ip fw input '{ type filter hook input priority 0; }'
	nft add rule ip fw input ct state established accept
	reads ${conntrack}_udp_timeout 30
	apply 0
	count 3 '^applied node conntrack'
	values

	# Another policy wants the module loaded.
	nft flush ruleset
	rmmod nft_ct nf_conntrack
	plan 3
	count 3 '^refusal node conntrack.* not-loaded: '
	{ echo "$P"; echo 'level: stateful'; } | policy
	apply 0
	hasnt '^(failed|undone)'
	values
	;;
esac
