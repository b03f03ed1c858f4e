# vm: boots=3
# vm: systemd
# Values whose module nothing loads before systemd-sysctl runs: a rule does later. The
# warning says so, and the next start proves it. Once a policy or another file brings the
# module, there is no warning, and the next start sets the values.

P='conntrack: {max: 40000, timeouts: {udp: 20s}}'
rule() {
	nft add table ip fw
	nft add chain ip fw input '{ type filter hook input priority 0; }'
	nft add rule ip fw input ct state established accept
}

case $BOOT in
1)
	rule
	echo "$P" | policy
	apply 0
	count 2 '^warning node boot-order: .*nothing loads nf_conntrack '
	insync
	count 2 '^warning node boot-order: '
	;;
2)
	unloaded nf_conntrack
	[ ! -e ${conntrack}_max ] || fail "conntrack has values"
	rule
	reads ${conntrack}_udp_timeout 30
	echo "$P" | policy
	apply 0
	count 2 '^applied node conntrack'
	count 2 '^warning node boot-order: '

	# Another file lists a module that needs it.
	echo nft_ct >/etc/modules-load.d/local.conf
	insync
	hasnt 'boot-order'
	rm /etc/modules-load.d/local.conf

	# The policy wants a level that has it.
	{ echo "$P"; echo 'level: stateful'; } | policy
	apply 0
	has '^applied node boot:module/nf_conntrack null -> loaded'
	hasnt 'boot-order'
	;;
3)
	loaded nf_conntrack
	reads ${conntrack}_max 40000
	reads ${conntrack}_udp_timeout 20
	{ echo "$P"; echo 'level: stateful'; } | policy
	exits 0 nfsync plan /policy --detailed-exitcode
	;;
esac
