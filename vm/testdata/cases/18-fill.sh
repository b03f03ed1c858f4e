# One namespace is flooded beyond the limit. It drops new connections, the others do
# not, and nfsync shows which one is full: whether it was flooded by itself, or by a
# namespace that does not track.

for ns in c1 c2; do
	ip netns add $ns
	ip -n $ns link set lo up
	ip netns exec $ns nft add table ip fw
	ip netns exec $ns nft add chain ip fw output '{ type filter hook output priority 0; }'
	ip netns exec $ns nft add rule ip fw output ct state new accept
done
policy <<P
conntrack: {max: 500}
P
# An emulated machine may need longer for a flood than the kernel keeps an entry.
containers <<P
level: stateful
conntrack: {timeouts: {udp: 10m}}
P
apply 0
reads ${conntrack}_max 500
refused=$(ip netns exec c1 pkt flood 2000)
# The kernel first evicts connections that were never answered (early_drop in
# nf_conntrack_core.c), and drops packets if there are none.
[ "$refused" -gt 100 ] || fail "only $refused of 2000 datagrams were refused"
[ "$(ip netns exec c2 pkt reach 10)" = 10 ] || fail "the other namespace drops connections"

snapshot
has '^tracking c1 on (49[0-9]|5[0-9][0-9]) 500$'
has '^tracking c2 on [12]?[0-9] 500$'

# A limit below the number of entries is refused; a higher one is set.
policy <<P
conntrack: {max: 100}
P
plan 3
has '^refusal node conntrack.max below-count: 100 is below the [45][0-9][0-9] live entries of container netns/c1'
policy <<P
conntrack: {max: {atLeast: 5000}}
P
apply 0
[ "$(ip netns exec c1 pkt reach 3)" = 3 ] || fail "new connections are dropped below the limit"

# From outside: the sender has no rule and no entry, and the receiver's table is filled.
ip netns add c3
ip link add veth0 netns c3 type veth peer name veth0 netns c2
for ns in c2 c3; do
	ip -n $ns address add 10.9.9.${ns#c}/24 dev veth0
	ip -n $ns link set veth0 up
done
ip netns exec c3 pkt flood 8000 10.9.9.2 >/tmp/out
is <<O
0
O
snapshot
has '^tracking c2 on (499[0-9]|5[0-9][0-9][0-9]) 5000$'
has '^tracking c3 off 0 5000$'
[ "$(pkt reach 3)" = 3 ] || fail "the node drops connections"
policy <<P
conntrack: {max: 4000}
P
plan 3
has '^refusal node conntrack.max below-count: 4000 is below the [45][0-9][0-9][0-9] live entries of container netns/c2'
