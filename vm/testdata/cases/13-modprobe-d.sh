# Lines that the administrator has written into modprobe.d.

cat >/etc/modprobe.d/local.conf <<C
options ip_set max_sets=77
blacklist xt_recent
install xt_LOG /bin/false
C
policy <<P
modules: {ip_set: loaded}
P
apply 0
reads /sys/module/ip_set/parameters/max_sets 77

# Parameters of a policy override them.
modprobe -r ip_set
policy <<P
modules: {ip_set: {state: loaded, parameters: {max_sets: 300}}}
P
apply 0
reads /sys/module/ip_set/parameters/max_sets 300

for module in xt_recent xt_LOG; do
	policy <<P
modules: {$module: loaded}
P
	case $module in xt_recent) line=2 ;; *) line=3 ;; esac
	plan 3
	has "^refusal node module/$module modules-locked: .*/etc/modprobe.d/local.conf:$line says"
	hasnt "^change node .*module/$module"
	apply 3
	unloaded $module
done

# What modprobe makes of a line decides: each of these keeps it from loading the module,
# and nfsync refuses and names the line.
rm /etc/modprobe.d/local.conf
modprobe -r ip_set
policy <<P
modules: {ip_set: loaded}
P
for line in 'alias ip_set off' 'alias ip[-_]s?t other' 'install ip-set /bin/false # why' 'install ip_* echo off; exit 1' 'options ip_set max_sets = 5' 'options ip_set max_sets=x'; do
	printf '# first\n%s\n' "$line" >/etc/modprobe.d/local.conf
	modprobe ip_set 2>/dev/null || true
	unloaded ip_set
	plan 3
	has '^refusal node module/ip_set modules-locked: .*/etc/modprobe.d/local.conf:2 says'
	apply 3
	unloaded ip_set
done

# modprobe ignores these lines, and so does nfsync.
for line in 'install ip_set' 'install ip_set ' 'blacklist ip_set\r' '# \\\nblacklist ip_set' 'options ip_* max_sets = 5' 'options ip_set unknown = 5' 'alias ip_set'; do
	printf "$line\n" >/etc/modprobe.d/local.conf
	echo 'blacklist ip_set' >/etc/modprobe.d/.hidden.conf
	modprobe -b ip_set || fail "modprobe does not ignore: $line"
	modprobe -r ip_set
	apply 0
	loaded ip_set
	modprobe -r ip_set
done

# A joined line has no blank where it was split.
printf 'options ip_set max_\\\nsets=\\7\\7\n' >/etc/modprobe.d/local.conf
apply 0
reads /sys/module/ip_set/parameters/max_sets 77
rm /etc/modprobe.d/local.conf /etc/modprobe.d/.hidden.conf
