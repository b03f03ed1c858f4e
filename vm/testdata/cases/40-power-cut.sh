# vm: boots=3
# The power fails in the middle of a node's first apply, after a change, and after the
# last one. After the next boot none of the live changes is left, and the next apply
# makes all of them. (41-each-step tests each step in between.)

policy <<P
level: full
conntrack:
  max: 40000
  timeouts: {udp: 20s}
  sysctls: {nf_conntrack_acct: 1}
modules: {ip_set: {state: loaded, parameters: {max_sets: 300}}}
P

# stop N: stops the apply after its Nth change, and asks for a power cut.
stop() {
	mkfifo /tmp/progress
	nfsync apply /policy --yes --log-format json >/dev/null 2>/tmp/progress &
	apply=$!
	exec 3</tmp/progress
	seen=0
	while [ $seen -lt "$1" ] && read -r line <&3; do
		case $line in *'"msg":"change applied'*) seen=$((seen + 1)) ;; *) echo "$line" ;; esac
	done
	kill -STOP $apply
	[ $seen = "$1" ] || fail "only $seen changes were made"
	echo "stopped after change $seen, with $(netfilter)"
	echo "@@ cut"
	sleep 600
}

# interrupted: the journal has the interrupted run, and no live change is left.
interrupted() {
	[ -z "$(netfilter)" ] || fail "loaded: $(netfilter)"
	exits 0 nfsync doctor -o json
	has 'has not come to its end'
	exits 0 nfsync recover
	hasnt 'stuck'
}

# completed: an apply settles the interrupted run, and makes all changes.
completed() {
	apply 0
	has '^recovered gone node .*it was restarted since'
	hasnt '^(failed|undone)'
	reads ${conntrack}_max 40000
	reads ${conntrack}_udp_timeout 20
	reads ${conntrack}_acct 1
	reads /sys/module/ip_set/parameters/max_sets 300
	loaded nf_nat xt_MASQUERADE
	insync
}

case $BOOT in
1)
	stop 1
	;;
2)
	interrupted
	plan 0
	stop $(sed -n 's/^summary \([0-9]*\) .*/\1/p' /tmp/out)
	;;
3)
	interrupted
	completed
	;;
esac
