# A set uses the module of its type, which uses ip_set.

ipset create s1 hash:ip
policy <<P
modules: {ip_set: unloaded, ip_set_hash_ip: unloaded}
P
plan 3
has '^refusal node module/ip_set in-use: ip_set is used by the module ip_set_hash_ip'
has '^refusal node module/ip_set_hash_ip in-use: ip_set_hash_ip is in use: 1 references? \(rules, sockets or sets\)'
apply 3
ipset list -n >/tmp/out
is <<O
s1
O
ipset destroy s1
plan 0
count 2 '^change node module/ip_set.* loaded -> unloaded one-way'
apply 0
unloaded ip_set ip_set_hash_ip
insync
