# An iptables rule loads nf_conntrack behind nfsync's back: that is drift. As
# long as the rule is there it is refused; then it is healed.

policy <<P
modules: {nf_conntrack: unloaded, xt_conntrack: unloaded}
P
apply 0
insync
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
