# vm: boot=own
# Lockdown refuses modules without a signature: the distribution's own load,
# others do not.

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
cut -d" " -f1 /proc/modules | sort >/vm/modules
