# vm: boots=2
# vm: systemd
# Lines of other boot files that contradict the policy are reported and never edited.
# After the next start one apply sets the values again.

policy <<P
level: stateful
modules:
  xt_recent: unloaded
  nft_limit: unloaded
  ip_set: {state: loaded, parameters: {max_sets: 300}}
  nf_conntrack_ftp: {state: loaded, parameters: {ports: "2121"}}
conntrack: {max: 40000, buckets: 8192, timeouts: {udp: 20s}}
P

# named: each line that has an effect is in a warning, and no file has changed.
named() {
	for line in modules-load.d/zz-local.conf:2 modules-load.d/zz-local.conf:3 modprobe.d/00-local.conf:2 modprobe.d/00-local.conf:3 \
		modprobe.d/zz-local.conf:1 sysctl.d/95-local.conf:1; do
		has "^warning node declared-elsewhere: /etc/$line sets "
	done
	hasnt 'sysctl.d/10-local.conf' # nfsync's own file overrides it
	for file in /disk/others/*/*; do
		cmp "$file" "/etc/${file#/disk/others/}" || fail "$file has changed"
	done
}

case $BOOT in
1)
	mkdir -p /disk/others/modprobe.d /disk/others/modules-load.d /disk/others/sysctl.d
	printf '# somebody\nxt_recent\nnft_limit\n' >/disk/others/modules-load.d/zz-local.conf
	printf 'install nft_limit /sbin/modprobe --ignore-install nft_limit\noptions nf_conntrack hashsize=4096\noptions ip_set max_sets=77' >/disk/others/modprobe.d/00-local.conf
	printf 'options nf_conntrack_ftp ports=2222\n' >/disk/others/modprobe.d/zz-local.conf
	printf 'net.netfilter.nf_conntrack_max = 7777' >/disk/others/sysctl.d/95-local.conf
	printf 'net/netfilter/nf_conntrack_udp_timeout = 99\r\n' >/disk/others/sysctl.d/10-local.conf
	cp -r /disk/others/* /etc
	apply 0
	named
	insync
	named
	;;
2)
	# Of two install lines the first one counts, of two options and of two values the
	# last one.
	loaded nft_limit
	unloaded xt_recent
	reads ${conntrack}_max 7777
	reads ${conntrack}_udp_timeout 20
	reads ${conntrack}_buckets 8192
	reads /sys/module/ip_set/parameters/max_sets 300
	case $(cat /sys/module/nf_conntrack_ftp/parameters/ports) in 2222*) ;; *) fail "ftp ports" ;; esac

	# Only the option that was set with the load cannot be changed.
	plan 3
	named
	count 1 '^refusal'
	has '^refusal node module/nf_conntrack_ftp reload-required: .*ports'
	rmmod nf_conntrack_ftp
	apply 0
	count 3 '^applied '
	has '^applied node conntrack.max 7777 -> 40000'
	has '^applied node module/nft_limit loaded -> unloaded'
	has '^applied node module/nf_conntrack_ftp unloaded -> '
	named
	insync
	named
	;;
esac
