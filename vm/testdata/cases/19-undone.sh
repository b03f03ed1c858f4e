# The kernel rejects the last change of an apply. The boot layer is undone with the
# rest, and boot files that become empty are removed.

modprobe nf_conntrack
was=$(cat ${conntrack}_max)
policy <<P
modules:
  nf_conntrack: {state: loaded, parameters: {hashsize: 0}}
  xt_recent: loaded
conntrack:
  max: 40000
P
apply 5
has '^failed node module/nf_conntrack .*invalid argument'
has '^undone node module/xt_recent '
has '^undone node conntrack.max '
has '^undone node boot:conntrack.max null -> 40000'
has '^undone node boot:module/xt_recent null -> loaded'
has '^undone node boot:module/nf_conntrack null -> '
hasnt '^(applied|stuck|kept)'
unloaded xt_recent
reads ${conntrack}_max $was
left=$(ls -A /etc/modprobe.d /etc/modules-load.d /etc/sysctl.d | grep nfsync) || true
[ -z "$left" ] || fail "files are left: $left"

# Other values that the kernel rejects: they do not fit into the value, or into memory.
for key in 'sysctls: {nf_conntrack_acct: 2}' 'sysctls: {nf_conntrack_log_invalid: 256}' 'buckets: 2147483647'; do
	policy <<P
conntrack:
  $key
  max: 40000
P
	apply 5
	has '^failed node conntrack\.(sysctls.nf_conntrack_(acct|log_invalid)|buckets) .*: .*(invalid argument|cannot allocate memory)'
	hasnt '^(applied|stuck|kept)'
	reads ${conntrack}_max $was
done
