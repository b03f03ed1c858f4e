# The node's level is raised through all four levels, and lowered again. Each module
# is a change of its own, after the modules that it needs. Nothing else is loaded or
# unloaded.

policy <<P
level: disabled
P
insync
nothing="$(netfilter)"
[ -z "$nothing" ] || fail "loaded: $nothing"

policy <<P
level: stateless
P
plan 0
grep '^change node module/' /tmp/out >/tmp/changes
mv /tmp/changes /tmp/out
is <<O
change node module/libcrc32c unloaded -> loaded (new)
change node module/nfnetlink unloaded -> loaded (new)
change node module/nf_tables unloaded -> loaded (new)
O
apply 0
count 3 '^applied node module/'
[ "$(netfilter)" = "libcrc32c nf_tables nfnetlink " ] || fail "loaded: $(netfilter)"
insync

policy <<P
level: stateful
P
apply 0
hasnt '^(failed|undone|refusal)'
stateful="libcrc32c nf_conntrack nf_defrag_ipv4 nf_defrag_ipv6 nf_tables nfnetlink nft_ct x_tables xt_conntrack "
[ "$(netfilter)" = "$stateful" ] || fail "loaded: $(netfilter)"
has 'warning node node-tracking'
insync

policy <<P
level: full
P
apply 0
count 8 '^applied node module/'
loaded nf_nat nft_chain_nat nft_masq nft_nat nft_redir xt_nat xt_MASQUERADE xt_REDIRECT
insync

# Lowering the level alone unloads nothing.
policy <<P
level: stateful
P
insync
loaded nf_nat xt_MASQUERADE

# One level down: only the modules of full are unloaded, holders first.
policy <<P
level: stateful
modulesAboveLevel: unload
P
plan 0
count 8 '^change node module/.* loaded -> unloaded one-way'
apply 0
[ "$(netfilter)" = "$stateful" ] || fail "loaded: $(netfilter)"
insync

policy <<P
level: stateless
modulesAboveLevel: unload
P
apply 0
unloaded nf_conntrack xt_conntrack nft_ct
loaded nf_tables
insync

policy <<P
level: disabled
modulesAboveLevel: unload
P
apply 0
unloaded nf_tables
insync
