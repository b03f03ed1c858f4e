# A module that a container's rules use is not unloaded, and the refusal names the
# container. Tracking is on only in the namespace that needs it.

ip netns add c1
ip netns add c2
ip -n c1 link set lo up
ip netns exec c1 nft add table inet fw
ip netns exec c1 nft add chain inet fw input '{ type filter hook input priority 0; policy drop; }'
policy <<P
modules: {nf_tables: unloaded}
P
plan 3
has '^refusal node module/nf_tables in-use: .*the policy of chain input \(input\) in the nft table inet fw of container netns/c1: the firewall would be open'
apply 3
ip netns exec c1 nft list chain inet fw input >/tmp/out
has 'policy drop'
[ "$(ip netns exec c1 pkt reach 3)" = 0 ] || fail "the container's firewall is open"

# c1 tracks, c2 does not.
ip netns exec c1 nft flush chain inet fw input
ip netns exec c1 nft 'add chain inet fw input { policy accept; }'
ip netns exec c1 nft add rule inet fw input ct state new,established accept
ip netns exec c1 pkt reach 4 >/tmp/out
is <<O
4
O
ip netns exec c2 ip link set lo up
ip netns exec c2 pkt reach 4 >/tmp/out
snapshot
has '^tracking c1 on [1-9]'
has '^tracking c2 off 0'

policy <<P
level: stateless
P
containers <<P
level: stateless
P
plan 3
has '^refusal c1 level level-in-use: its own rules use stateful: nft table inet fw chain input: ct'
hasnt '^refusal (c2|node)'

# c1 uses the module: it is not unloaded, neither by name nor by the level.
policy <<P
level: disabled
modulesAboveLevel: unload
modules: {nf_conntrack: unloaded}
P
before=$(netfilter)
apply 3
has '^refusal node module/nf_conntrack in-use: nf_conntrack is used by the module .*nft_ct'
[ "$(netfilter)" = "$before" ] || fail "loaded: $(netfilter)"

# Once the container has ended, all modules are unloaded.
ip netns del c1
sleep 1
apply 0
unloaded nf_conntrack nf_tables nft_ct
