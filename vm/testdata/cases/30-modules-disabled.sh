# vm: boot=own
# kernel.modules_disabled is one-way: from then on nothing can be loaded or
# unloaded, and nfsync says so. What needs no module goes on.

modprobe nf_conntrack
echo 1 >/proc/sys/kernel/modules_disabled
policy <<P
modules: {xt_conntrack: loaded, nf_conntrack: {state: unloaded}}
conntrack: {max: 2345}
P
plan 3
has '^refusal node module/xt_conntrack modules-locked: .*kernel.modules_disabled is 1'
has '^refusal node module/nf_conntrack modules-locked: .*kernel.modules_disabled is 1'
apply 3
reads ${conntrack}_max 2345
loaded nf_conntrack

# A parameter that can be written is no matter of loading.
policy <<P
modules: {nf_conntrack: {state: loaded, parameters: {hashsize: 8192}}}
P
apply 0
reads /sys/module/nf_conntrack/parameters/hashsize 8192

cut -d" " -f1 /proc/modules | sort >/vm/modules # nothing can be unloaded any more
