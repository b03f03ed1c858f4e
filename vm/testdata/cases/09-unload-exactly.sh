# Unloading xt_conntrack unloads nothing else: nf_conntrack stays loaded, with its
# limits.

modprobe xt_conntrack
echo 12345 >${conntrack}_max
policy <<P
modules: {xt_conntrack: unloaded}
P
plan 0
count 1 '^change node module/'
apply 0
count 1 '^applied node module/xt_conntrack loaded -> unloaded$'
hasnt 'node module/(nf|x_)'
unloaded xt_conntrack
loaded nf_conntrack x_tables nf_defrag_ipv4 nf_defrag_ipv6 libcrc32c
reads ${conntrack}_max 12345
insync
