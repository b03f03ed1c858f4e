# Modules that legacy rules use, filter and NAT, are not unloaded.

iptables-legacy -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
iptables-legacy -t nat -A POSTROUTING -o dummy9 -j MASQUERADE
policy <<P
modules: {xt_conntrack: unloaded, nf_conntrack: unloaded, nf_nat: unloaded, iptable_filter: unloaded, iptable_nat: unloaded, xt_MASQUERADE: unloaded, ip_tables: unloaded}
P
before=$(netfilter)
plan 3
count 7 '^refusal node module/.* in-use: '
has '^refusal node module/xt_conntrack in-use: xt_conntrack is in use: 1 references?'
has '^refusal node module/xt_MASQUERADE in-use: xt_MASQUERADE is in use: 1 references?'
has '^refusal node module/iptable_filter in-use: iptable_filter is in use: 1 reference .*: 1 rule of the legacy table ip filter of node'
has '^refusal node module/ip_tables in-use: ip_tables is used by the module .*iptable_filter'
has '^refusal node module/nf_conntrack in-use: nf_conntrack is used by the module .*xt_conntrack'
apply 3
[ "$(netfilter)" = "$before" ] || fail "loaded: $(netfilter)"
exits 0 iptables-legacy -S
has 'ctstate ESTABLISHED'

iptables-legacy -F
iptables-legacy -t nat -F
apply 0
unloaded xt_conntrack nf_conntrack iptable_filter iptable_nat xt_MASQUERADE ip_tables
insync
