# Modules that do not exist, are built in, are named by an alias or with a dash, or
# have soft dependencies.

policy <<P
modules: {nf_nonsense: loaded}
P
plan 3
has '^refusal node module/nf_nonsense missing: this kernel has no module nf_nonsense'

policy <<P
modules: {nf_nonsense: unloaded}
P
plan 0
hasnt '^(change|refusal)'
has '^warning node module-absent: '

# ext4 and nvme are built into these kernels.
policy <<P
modules: {ext4: loaded, nvme: unloaded}
P
plan 3
hasnt 'module/ext4'
has '^refusal node module/nvme builtin: nvme is built into this kernel and cannot be unloaded'

# An alias and the other spelling are replaced by the module.
policy <<P
modules: {nfct-helper-ftp: loaded, nf-nat: loaded}
P
plan 0
has '^change node module/nf_conntrack_ftp unloaded -> loaded'
has '^change node module/nf_nat unloaded -> loaded'
hasnt 'nfct|nf-nat'
apply 0
loaded nf_conntrack_ftp nf_nat
insync

# A soft dependency is not in the plan, and so is not loaded.
echo "softdep xt_recent pre: xt_mark" >/etc/modprobe.d/soft.conf
policy <<P
modules: {xt_recent: loaded}
P
apply 0
loaded xt_recent
unloaded xt_mark
