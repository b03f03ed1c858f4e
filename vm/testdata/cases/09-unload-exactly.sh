# Unloading xt_conntrack takes nothing else along: nf_conntrack stays, with its
# limits.

modprobe xt_conntrack
echo 12345 >${conntrack}_max
policy <<P
modules: {xt_conntrack: unloaded}
P
plan 0
count 1 '^change'
apply 0
is <<O
applied node module/xt_conntrack loaded -> unloaded
O
unloaded xt_conntrack
loaded nf_conntrack x_tables nf_defrag_ipv4 nf_defrag_ipv6 libcrc32c
reads ${conntrack}_max 12345
insync
