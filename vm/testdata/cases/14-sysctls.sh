# Values that exist only with their module, set in the plan that loads it; values that
# the kernel rejects; rounded buckets; a limit below the number of entries.

unloaded nf_conntrack
policy <<P
conntrack:
  max: 40000
P
plan 3
has '^refusal node conntrack.max not-loaded: net.netfilter.nf_conntrack_max belongs to the module nf_conntrack, which is not loaded'

policy <<P
level: stateful
conntrack:
  max: 40000
  buckets: 1000
  expectMax: 512
  timeouts: {tcpEstablished: 2h, udp: 20s, icmpv6: 10s, frag6: 30s}
  sysctls: {nf_conntrack_tcp_loose: 0, nf_conntrack_acct: 1}
P
plan 0
has '^change node conntrack.max null -> 40000'
apply 0
hasnt '^(failed|undone|skipped)'
reads ${conntrack}_max 40000
reads ${conntrack}_buckets 1024
reads ${conntrack}_expect_max 512
reads ${conntrack}_tcp_timeout_established 7200
reads ${conntrack}_udp_timeout 20
reads ${conntrack}_tcp_loose 0
reads ${conntrack}_acct 1
reads ${conntrack}_frag6_timeout 30
# 1000 buckets are 1024, which is no difference.
insync

# The kernel answers EINVAL: all changes of the target are undone.
policy <<P
conntrack:
  timeouts: {udp: 25s}
  sysctls: {nf_conntrack_tcp_loose: 300}
P
apply 5
has '^failed node conntrack.sysctls.nf_conntrack_tcp_loose 0 -> 300: .*invalid argument'
has '^(undone|skipped) node conntrack.timeouts.udp'
reads ${conntrack}_udp_timeout 20
reads ${conntrack}_tcp_loose 0

# Fewer than the live entries.
nft add table ip fw
nft add chain ip fw input '{ type filter hook input priority 0; }'
nft add rule ip fw input ct state new accept
[ "$(pkt reach 8)" = 8 ] || fail "the loopback is closed"
policy <<P
conntrack: {max: 3}
P
plan 3
has '^refusal node conntrack.max below-count: 3 is below the [0-9]+ live entries: new connections would be dropped'
apply 3
reads ${conntrack}_max 40000
