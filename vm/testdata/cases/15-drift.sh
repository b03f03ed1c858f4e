# modprobe cannot load a module that is wanted unloaded. If it is loaded in another
# way, that is drift: refused while an iptables rule uses the module, unloaded after
# that.

policy <<P
modules: {nf_conntrack: unloaded, xt_conntrack: unloaded}
P
apply 0
insync
exits 1 iptables-legacy -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
unloaded nf_conntrack xt_conntrack
modprobe -i nf_conntrack
modprobe -i xt_conntrack
iptables-legacy -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
loaded nf_conntrack xt_conntrack
plan 3
has '^refusal node module/xt_conntrack in-use'
iptables-legacy -F
plan 0
count 2 '^change node module/(nf|xt)_conntrack loaded -> unloaded one-way \(drift\)'
apply 0
unloaded nf_conntrack xt_conntrack
insync
