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
