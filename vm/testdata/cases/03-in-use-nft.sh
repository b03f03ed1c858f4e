# A module that nft rules use is not unloaded. The refusal names its users.

nft add table inet fw
nft add chain inet fw input '{ type filter hook input priority 0; }'
nft add rule inet fw input ct state established accept
nft add table ip nat
nft add chain ip nat post '{ type nat hook postrouting priority 100; }'
nft add rule ip nat post oifname dummy9 masquerade

# A level below that of the rules is refused, and the modules of the rules stay.
policy <<P
level: stateless
modulesAboveLevel: unload
P
plan 3
has '^refusal node level level-in-use: its own rules use full: .*nft table ip nat chain post: masq'
hasnt '^change node module/'
before=$(netfilter)
apply 3
[ "$(netfilter)" = "$before" ] || fail "loaded: $(netfilter)"

# The same modules, wanted unloaded by name.
policy <<P
modules: {nf_tables: unloaded, nf_conntrack: unloaded, nft_ct: unloaded, nf_nat: unloaded, nft_masq: unloaded, nft_chain_nat: unloaded}
P
plan 3
count 6 '^refusal node module/.* in-use: '
has '^refusal node module/nf_conntrack in-use: nf_conntrack is used by the module .*nft_ct'
has '^refusal node module/nft_ct in-use: nft_ct is in use: 1 references?'
has '^refusal node module/nft_masq in-use: nft_masq is in use: 1 references?'
has '^refusal node module/nft_chain_nat in-use: nft_chain_nat is in use: [0-9]+ references?'
has '^refusal node module/nf_tables in-use: nf_tables is used by the module '
apply 3
[ "$(netfilter)" = "$before" ] || fail "loaded: $(netfilter)"
exits 0 nft list ruleset
has 'ct state established accept'
has masquerade

# Once the rules are removed, the modules are unloaded.
nft flush ruleset
apply 0
unloaded nf_tables nf_conntrack nft_ct nf_nat nft_masq nft_chain_nat
insync
