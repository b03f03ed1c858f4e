# Modules that NAT rules and legacy rules of a container use are not unloaded, and the
# refusal names the container.

ip netns add c1
ip netns exec c1 nft add table ip nat
ip netns exec c1 nft add chain ip nat post '{ type nat hook postrouting priority 100; }'
ip netns exec c1 nft add rule ip nat post oifname dummy9 masquerade
ip netns exec c1 iptables-legacy -A INPUT -m recent --set
policy <<P
modules: {nft_masq: unloaded, nft_chain_nat: unloaded, nf_nat: unloaded, nf_tables: unloaded, xt_recent: unloaded, iptable_filter: unloaded, ip_tables: unloaded}
P
before=$(netfilter)
plan 3
count 7 '^refusal node module/.* in-use: '
has '^refusal node module/nft_masq in-use: .*: masq in chain post of the nft table ip nat of container netns/c1 '
has '^refusal node module/xt_recent in-use: .*: xt match recent in chain INPUT of the legacy table ip filter of container netns/c1 '
has '^refusal node module/iptable_filter in-use: .*: 1 rule of the legacy table ip filter of container netns/c1 '
has '^refusal node module/nf_nat in-use: nf_nat is used by the module .*nft_masq'
apply 3
[ "$(netfilter)" = "$before" ] || fail "loaded: $(netfilter)"
ip netns exec c1 nft list ruleset >/tmp/out
has masquerade
ip netns exec c1 iptables-legacy -S >/tmp/out
has recent

# The container's rules use more than its level.
containers <<P
level: stateful
P
plan 3
has '^refusal c1 level level-in-use: its own rules use full: .*masq'

ip netns del c1
rm /policy/containers.yaml
sleep 1
apply 0
unloaded nft_masq nft_chain_nat nf_nat nf_tables xt_recent iptable_filter ip_tables
