# If ip_tables is loaded, the legacy tables belong to the levels. On a host with only
# nf_tables nfsync does not load them.

policy <<P
level: stateful
P
plan 0
hasnt 'ip_tables|iptable_|ip6'

modprobe ip_tables
policy <<P
level: full
P
plan 0
has '^change node module/iptable_filter unloaded -> loaded'
has '^change node module/ip6_tables unloaded -> loaded'
apply 0
loaded iptable_filter iptable_mangle iptable_nat ip6table_filter ip6table_mangle ip6table_nat xt_MASQUERADE
insync

# The tables exist now and are empty: unloading them loses nothing.
policy <<P
level: disabled
modulesAboveLevel: unload
P
apply 0
unloaded iptable_filter iptable_mangle iptable_nat ip6table_filter ip6_tables ip_tables nf_nat nf_conntrack nf_tables
insync
