# The plan from a snapshot of the node is the plan on the node, byte for byte, whatever is loaded, saved,
# refused or remembered.

ip netns add c1
ip netns add c2
same() {
	nfsync snapshot -o json >/tmp/snapshot.json || fail "no snapshot"
	code=0
	nfsync plan /policy -o json >/tmp/live 2>/tmp/err || code=$?
	exits "$code" nfsync plan /policy -o json --snapshot /tmp/snapshot.json
	diff /tmp/live /tmp/out >/tmp/differs || { mv /tmp/differs /tmp/out; fail "the plans differ"; }
}

policy <<P
level: full
modulesAboveLevel: unload
conntrack: {max: {atLeast: 100000}, buckets: 65536, timeouts: {udp: 41s}, sysctls: {nf_conntrack_acct: 1}}
modules: {ip_set: {state: loaded, parameters: {max_sets: 512}}, no_such_module: loaded, nf_conntrack_ftp: unloaded}
P
containers <<P
level: stateful
conntrack: {timeouts: {udp: 20s}}
P
same
exits 3 nfsync apply /policy --yes
same

# Drift, another instance, rules in use, lines of others, and a module that something else has loaded.
sysctl -qw net.netfilter.nf_conntrack_udp_timeout=77
ip netns del c2
ip netns add c2
ip netns exec c1 nft -f - <<R
table ip t {
	chain c {
		type nat hook postrouting priority 100
		masquerade
	}
}
R
mkdir -p /etc/sysctl.d
echo 'net.netfilter.nf_conntrack_max = 12345' >/etc/sysctl.d/99-other.conf
modprobe --ignore-install nf_conntrack_ftp
same

# What is lowered and unloaded.
policy <<P
level: stateless
modulesAboveLevel: unload
modules: {ip_set: unloaded}
P
same
nfsync apply /policy --yes >/dev/null || true
same
ip netns del c1
same
