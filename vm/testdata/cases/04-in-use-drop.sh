# A chain with the policy drop and no rule drops all packets. The kernel would unload
# its module, and so open the firewall. nfsync refuses, and no packet gets through.

# rmmod opens the firewall.
nft add table ip fw
nft add chain ip fw input '{ type filter hook input priority 0; policy drop; }'
[ "$(pkt reach 3)" = 0 ] || fail "the firewall is open"
if rmmod nf_tables; then
	[ "$(pkt reach 3)" = 3 ] || fail "the packets are dropped without a firewall"
	echo "rmmod nf_tables removes the table"
fi
nft list ruleset >/dev/null
nft flush ruleset

for backend in nft legacy; do
	case $backend in
	nft)
		nft add table ip fw
		nft add chain ip fw input '{ type filter hook input priority 0; policy drop; }'
		module=nf_tables
		reason='the policy of chain input \(input\) in the nft table ip fw of node: the firewall would be open'
		;;
	legacy)
		iptables-legacy -P INPUT DROP
		module=iptable_filter
		reason='the policy of chain INPUT \(input\) in the legacy table ip filter of node: the firewall would be open'
		;;
	esac
	pkt pump >/tmp/pump &
	pump=$!
	policy <<P
modules: {$module: unloaded}
P
	plan 3
	has "^refusal node module/$module in-use: unloading $module would lose $reason"
	apply 3
	loaded $module

	# The level does not unload it either.
	policy <<P
level: disabled
modulesAboveLevel: unload
P
	apply 3
	has '^refusal node level level-in-use: its own rules use stateless: .*the policy of chain'
	loaded $module
	kill -TERM $pump
	wait $pump
	read -r sent arrived </tmp/pump
	[ "$sent" -gt 10 ] || fail "only $sent packets were sent"
	[ "$arrived" = 0 ] || fail "$arrived of $sent packets got through"
	case $backend in
	nft) nft flush ruleset ;;
	legacy) iptables-legacy -P INPUT ACCEPT ;;
	esac
	policy <<P
modules: {$module: unloaded}
P
	apply 0
	unloaded $module
done
[ "$(pkt reach 3)" = 3 ] || fail "the loopback is closed"
