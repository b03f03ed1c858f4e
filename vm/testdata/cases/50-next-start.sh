# vm: boots=3
# vm: systemd
# After the next start the node is as the policies want, before nfsync runs: its boot
# files have everything.

# others: other files in the same directories must be unchanged.
others() {
	for dir in modprobe.d modules-load.d sysctl.d; do
		cmp /disk/others/$dir /etc/$dir/50-local.conf || fail "/etc/$dir/50-local.conf has changed"
		[ "$(ls /etc/$dir | grep -v nfsync)" = 50-local.conf ] || fail "/etc/$dir contains $(ls -A /etc/$dir)"
	done
}

# saved FILE: its lines, without comments, must be equal to standard input.
saved() {
	grep -v '^#' "$1" >/tmp/out || true
	is
}

case $BOOT in
1)
	mkdir /disk/others
	printf '# no newline at the end\r\noptions dummy numdummies=1' >/disk/others/modprobe.d
	printf '; dummy\n\n\tnlmon_none\n' >/disk/others/modules-load.d
	printf 'net.ipv4.ip_forward=1\n\n-net.none = 5' >/disk/others/sysctl.d
	for dir in modprobe.d modules-load.d sysctl.d; do cp /disk/others/$dir /etc/$dir/50-local.conf; done
	policy <<P
level: stateful
modules:
  ip_set: {state: loaded, parameters: {max_sets: 300}}
  nf_conntrack_ftp: loaded
  xt_recent: unloaded
  nft_limit: unloaded
conntrack:
  max: 40000
  buckets: 1000
  expectMax: 512
  timeouts: {tcpEstablished: 2h, udp: 20s}
  sysctls: {nf_conntrack_tcp_loose: 0}
P
	apply 0
	count 2 '^applied node boot:module/(xt_recent|nft_limit) null -> unloaded'
	has '^applied node boot:conntrack.max null -> 40000'
	insync
	hasnt 'declared-elsewhere'
	cp -r /policy /disk/policy
	others
	;;
2)
	# nfsync has not run yet.
	loaded nf_tables nf_conntrack nft_ct xt_conntrack ip_set nf_conntrack_ftp
	unloaded xt_recent nft_limit
	reads /sys/module/ip_set/parameters/max_sets 300
	reads ${conntrack}_max 40000
	reads ${conntrack}_buckets 1024
	reads ${conntrack}_expect_max 512
	reads ${conntrack}_tcp_timeout_established 7200
	reads ${conntrack}_udp_timeout 20
	reads ${conntrack}_tcp_loose 0
	cp -r /disk/policy /policy
	exits 0 nfsync plan /policy --detailed-exitcode
	insync
	has '^summary 0 0 0 '
	others

	# A module that is wanted unloaded cannot be loaded, by any name.
	for name in xt_recent xt-recent ipt_recent nft_limit nft-expr-limit; do
		exits 1 modprobe $name
	done
	! iptables -A INPUT -m recent --set || fail "a rule of iptables has loaded its module"
	nft add table ip fw
	nft add chain ip fw input
	! nft add rule ip fw input limit rate 5/second accept || fail "an nft rule has loaded its module"
	nft flush ruleset
	unloaded xt_recent nft_limit
	insync

	# Another policy: modules that were blocked are wanted, loaded ones are not.
	policy <<P
level: stateful
modules:
  ip_set: unloaded
  nf_conntrack_ftp: {state: loaded, parameters: {ports: "2121"}}
  xt_recent: {state: loaded, parameters: {ip_list_tot: 300}}
  nft_limit: loaded
conntrack: {max: 50000}
P
	rmmod nf_conntrack_ftp # its parameters are set only when it is loaded
	apply 0
	loaded xt_recent nft_limit
	unloaded ip_set
	nft add table ip fw
	nft add chain ip fw input
	nft add rule ip fw input limit rate 5/second accept
	nft flush ruleset
	insync
	saved /etc/modprobe.d/nfsync.conf <<O
install ip_set /bin/false
options nf_conntrack_ftp ports=2121
options xt_recent ip_list_tot=300
O
	# No policy names the other values any more: they stay as they are.
	saved /etc/sysctl.d/90-nfsync.conf <<O
net.netfilter.nf_conntrack_buckets = 1000
net.netfilter.nf_conntrack_expect_max = 512
net.netfilter.nf_conntrack_max = 50000
net.netfilter.nf_conntrack_tcp_loose = 0
net.netfilter.nf_conntrack_tcp_timeout_established = 7200
net.netfilter.nf_conntrack_udp_timeout = 20
O
	rm -r /disk/policy
	cp -r /policy /disk/policy
	others
	;;
3)
	loaded xt_recent nft_limit nf_conntrack_ftp
	unloaded ip_set
	reads /sys/module/xt_recent/parameters/ip_list_tot 300
	reads ${conntrack}_max 50000
	cp -r /disk/policy /policy
	exits 0 nfsync plan /policy --detailed-exitcode
	insync
	has '^summary 0 0 0 '

	# A file that becomes empty is removed.
	policy <<P
level: stateful
modules: {ip_set: loaded, nf_conntrack_ftp: loaded, xt_recent: loaded, nft_limit: loaded}
P
	apply 0
	[ ! -e /etc/modprobe.d/nfsync.conf ] || fail "$(cat /etc/modprobe.d/nfsync.conf)"
	saved /etc/modules-load.d/nfsync.conf <<O
ip_set
nf_conntrack
nf_conntrack_ftp
nf_tables
nft_ct
nft_limit
xt_conntrack
xt_recent
O
	policy <<P
level: disabled
modulesAboveLevel: unload
modules: {ip_set: unloaded, nf_conntrack_ftp: unloaded, xt_recent: unloaded, nft_limit: unloaded}
P
	apply 0
	[ ! -e /etc/modules-load.d/nfsync.conf ] || fail "$(cat /etc/modules-load.d/nfsync.conf)"
	insync
	others
	;;
esac
