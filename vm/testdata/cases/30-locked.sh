# vm: append=module_blacklist=xt_recent
# Modules that cannot be loaded: one by the kernel's command line, unsigned ones by
# lockdown, all by kernel.modules_disabled.

# The kernel would answer only EPERM. nfsync gives the reason, and does not try.
policy <<P
modules: {xt_recent: loaded}
P
plan 3
has '^refusal node module/xt_recent modules-locked: .*/proc/cmdline says'
hasnt '^change node .*module/xt_recent'
apply 3
unloaded xt_recent

# Under lockdown the signed modules of the distribution can be loaded, others cannot.
echo integrity >/sys/kernel/security/lockdown
policy <<P
level: stateful
P
apply 0
loaded nf_conntrack nft_ct

# A module without a signature.
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

# A kernel whose modules have no signatures at all.
mkdir -p $tree/kernel/unsigned
cp /extra/unsigned.ko $tree/kernel/unsigned/dummy.ko
echo 'kernel/unsigned/dummy.ko:' >$tree/modules.dep
plan 3
has '^refusal node module/dummy modules-locked: .*kernel lockdown is integrity'
cp /vm/modules.dep $tree/modules.dep

# kernel.modules_disabled cannot be unset: from now on no module can be loaded or
# unloaded. Sysctls are still set.
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

# A writable parameter needs no load, and is still set.
policy <<P
modules: {nf_conntrack: {state: loaded, parameters: {hashsize: 8192}}}
P
apply 0
reads /sys/module/nf_conntrack/parameters/hashsize 8192
