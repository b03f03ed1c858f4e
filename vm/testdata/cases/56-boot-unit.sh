# vm: boots=3
# vm: pid1
# nfsync-boot.service: the last good revision is in force before the network, what nobody has
# confirmed is taken back, and a failure does not stop the start.

case $BOOT in
1)
	[ ! -e /run/nfsync-boot.log ] || fail "the unit ran without a last good revision: $(cat /run/nfsync-boot.log)"
	exits 0 nfsync agent --once --config none --git /policies.git
	reads ${conntrack}_max 40000
	echo 'conntrack: {max: 50000}' | policy
	exits 0 nfsync apply /policy --config none --yes --confirm-within 1h
	reads ${conntrack}_max 50000
	grep -q 50000 /etc/sysctl.d/90-nfsync.conf || fail "there is no boot file"
	sync
	echo "@@ cut"
	sleep 60
	;;
2)
	cat /run/nfsync-boot.log
	loaded nf_conntrack
	[ "$(cat /run/seen)" = 40000 ] || fail "the network saw $(cat /run/seen)"
	reads ${conntrack}_max 40000
	grep -q 40000 /etc/sysctl.d/90-nfsync.conf || fail "the boot file is $(cat /etc/sysctl.d/90-nfsync.conf)"
	exits 0 systemctl is-active nfsync-boot.service
	exits 0 nfsync recover --config none
	echo damaged >/var/lib/nfsync/lastgood
	;;
3)
	cat /run/nfsync-boot.log
	exits 0 systemctl is-failed nfsync-boot.service
	exits 0 systemctl is-active network-pre.target
	[ -s /run/seen ] || fail "what waits for the unit was not started"
	;;
esac
