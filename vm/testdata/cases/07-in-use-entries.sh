# Live entries remain after the rule that tracked is removed. The kernel would unload
# nf_conntrack and drop them.

nft add table ip fw
nft add chain ip fw input '{ type filter hook input priority 0; }'
nft add rule ip fw input ct state new accept
[ "$(pkt reach 5)" = 5 ] || fail "the loopback is closed"
nft flush ruleset
policy <<P
level: stateless
modules: {nft_ct: unloaded, nf_conntrack: unloaded}
P
plan 3
has '^refusal node module/nf_conntrack in-use: unloading nf_conntrack would lose [1-9][0-9]* live conntrack entries of node'
has '^warning node leftover-entries: [1-9]'
apply 3
has '^applied node module/nft_ct'
unloaded nft_ct
loaded nf_conntrack
[ "$(cat ${conntrack}_count)" -gt 0 ] || fail "the entries were lost"

# Delete the entries. conntrack -F loads nf_conntrack_netlink, which uses
# nf_conntrack.
conntrack -F >/dev/null 2>&1
rmmod nf_conntrack_netlink 2>/dev/null || true
apply 0
unloaded nf_conntrack
insync
