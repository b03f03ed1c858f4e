# vm: append=module_blacklist=xt_recent
# What locks modules: the kernel's command line one of them, lockdown those
# without a signature, kernel.modules_disabled all of them.

# The kernel would answer EPERM only; nfsync says why, and does not ask it.
policy <<P
modules: {xt_recent: loaded}
P
plan 3
has '^refusal node module/xt_recent modules-locked: .*/proc/cmdline says'
hasnt '^change node .*module/xt_recent'
apply 3
unloaded xt_recent

# Under lockdown the distribution's own modules load, others do not.
echo integrity >/sys/kernel/security/lockdown
policy <<P
level: stateful
P
apply 0
loaded nf_conntrack nft_ct

# A module of somebody else.
tree=/lib/modules/$(uname -r)
mkdir -p $tree/extra
cp /extra/unsigned.ko $tree/extra/dummy.ko
sed -i 's,^kernel/drivers/net/dummy.*,extra/dummy.ko:,' $tree/modules.dep
policy <<P
modules: {dummy: loaded}
P
apply 5
has '^failed node module/dummy unloaded -> loaded: .*lockdown is integrity'
unloaded dummy

# A kernel whose modules have no signature at all.
mkdir -p $tree/kernel/unsigned
cp /extra/unsigned.ko $tree/kernel/unsigned/dummy.ko
echo 'kernel/unsigned/dummy.ko:' >$tree/modules.dep
plan 3
has '^refusal node module/dummy modules-locked: .*kernel lockdown is integrity'
cp /vm/modules.dep $tree/modules.dep

# kernel.modules_disabled is one-way: from then on nothing can be loaded or
# unloaded. What needs no module goes on.
echo 1 >/proc/sys/kernel/modules_disabled
policy <<P
modules: {ip_set: loaded, nf_conntrack: unloaded}
conntrack: {max: 2345}
P
plan 3
has '^refusal node module/ip_set modules-locked: .*kernel.modules_disabled is 1'
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
