# modprobe ignores an install line of a module with soft dependencies. nfsync keeps out
# such a module all the same, by its name and by its aliases.

grep -q '^softdep xt_LOG ' /lib/modules/$(uname -r)/modules.softdep || fail "xt_LOG has no soft dependency"
echo 'install xt_LOG /bin/false' >/etc/modprobe.d/nfsync.conf
modprobe xt_LOG
loaded xt_LOG
modprobe -r xt_LOG
policy <<P
modules: {xt_LOG: unloaded}
P
apply 0
has '^applied node boot:module/xt_LOG null -> unloaded'
for name in xt_LOG ipt_LOG ip6t_LOG; do
	modprobe $name || true
	unloaded xt_LOG
done
! iptables-legacy -A INPUT -j LOG || fail "a rule has loaded it"
unloaded xt_LOG
insync
policy <<P
modules: {xt_LOG: loaded}
P
apply 0
loaded xt_LOG
[ ! -e /etc/modprobe.d/nfsync.conf ] || fail "$(cat /etc/modprobe.d/nfsync.conf)"
