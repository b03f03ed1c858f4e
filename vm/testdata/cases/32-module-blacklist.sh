# vm: append=module_blacklist=xt_recent
# A module that the kernel's own command line forbids: the kernel answers EPERM
# only, nfsync says why.

policy <<P
modules: {xt_recent: loaded}
P
apply 5
has '^failed node module/xt_recent unloaded -> loaded: .*/proc/cmdline says'
unloaded xt_recent x_tables
