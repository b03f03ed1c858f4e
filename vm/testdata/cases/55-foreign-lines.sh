# vm: boots=2
# vm: systemd
# Lines of others, as systemd-modules-load and systemd-sysctl understand them: what the
# warnings say is what the next start does.

policy <<P
level: stateful
modules:
  ip_set: {state: loaded, parameters: {max_sets: 300}}
  xt_recent: loaded
  nft_limit: loaded
conntrack:
  max: 40000
  timeouts: {udp: 20s, udpStream: 90s, icmp: 9s, generic: 99s}
P

warned() {
	has '^warning node declared-elsewhere: /etc/sysctl.d/95-local.conf:1 sets 7777,'
	has '^warning node declared-elsewhere: /etc/sysctl.d/95-local.conf:2 excludes it,'
	has '^warning node declared-elsewhere: /etc/sysctl.d/95-local.conf:3 has no value,'
	has '^warning node declared-elsewhere: /etc/sysctl.conf:1 sets 8,'
	has '^warning node declared-elsewhere: /etc/modprobe.d/zz-local.conf:1 sets unloaded .*says "install xt_recent echo off; exit 1"'
	has '^warning node declared-elsewhere: /etc/modprobe.d/zz-local.conf:2 sets unloaded .*loads nothing by that name'
	has '^warning node declared-elsewhere: /etc/modprobe.d/zz-local.conf:3 sets unloaded .*refuses max_sets without a value'
	count 7 declared-elsewhere
}

case $BOOT in
1)
	apply 0
	hasnt declared-elsewhere
	{
		echo 'net.nf_conntrack_* = 7777 # the other name'
		echo '-net/netfilter/nf_conntrack_udp_timeout'
		printf 'net.netfilter.nf_conntrack_udp_timeout_stream =\r\n'
		echo '-net.netfilter.nf_conntrack_gener*'
	} >/etc/sysctl.d/95-local.conf
	echo 'net.netfilter.nf_conntrack_icmp_timeout = 010' >/etc/sysctl.conf
	ln -s ../sysctl.conf /etc/sysctl.d/99-sysctl.conf
	echo 'net.netfilter.nf_conntrack_generic_timeout = 5' >/etc/sysctl.d/.hidden.conf
	printf 'install xt_recent echo off; exit 1\nalias nft_lim?t off\noptions ip_set max_sets = 5\ninstall nf_conntrack\n' >/etc/modprobe.d/zz-local.conf
	insync
	warned
	;;
2)
	unloaded ip_set xt_recent nft_limit
	loaded nf_conntrack
	reads ${conntrack}_max 7777
	reads ${conntrack}_udp_timeout 30
	reads ${conntrack}_udp_timeout_stream 120
	reads ${conntrack}_generic_timeout 99
	plan 3
	count 3 '^refusal node module/.* modules-locked: .*/etc/modprobe.d/zz-local.conf:[123] says'
	;;
esac
