# The words of the cases: sourced before each. What a program said last is in
# /tmp/out and /tmp/err.
. /vm/disk.sh

# fail ends the case.
fail() {
	echo "FAILED: $*"
	if head -n 1 /tmp/out 2>/dev/null | grep -q '^{'; then
		told </tmp/out
	else
		cat /tmp/out 2>/dev/null
	fi
	cat /tmp/err 2>/dev/null
	exit 1
}

# exits CODE COMMAND...: the command ends with this exit code.
exits() {
	wanted=$1
	shift
	echo "+ $*"
	code=0
	"$@" >/tmp/out 2>/tmp/err </dev/null || code=$?
	[ $code = "$wanted" ] || fail "exit $code, not $wanted"
}

# policy: standard input is the spec of a NodePolicy, the only policy so far.
policy() {
	rm -rf /policy
	mkdir /policy
	{
		printf 'apiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\nmetadata: {name: node}\nspec:\n'
		sed 's/^/  /'
	} >/policy/node.yaml
}

# containers: standard input is the spec of a ContainerPolicy beside it.
containers() {
	{
		printf 'apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: containers}\nspec:\n'
		sed 's/^/  /'
	} >/policy/containers.yaml
}

# plan CODE [FLAG...]: plans the policies. /tmp/out then has a line for each
# entry, as told writes them (testdata/told).
plan() {
	wanted=$1
	shift
	exits "$wanted" nfsync plan /policy -o json "$@"
	told </tmp/out >/tmp/lines
	mv /tmp/lines /tmp/out
}

# apply CODE [FLAG...]: applies the policies, and is like plan.
apply() {
	wanted=$1
	shift
	exits "$wanted" nfsync apply /policy --yes -o json "$@"
	told </tmp/out >/tmp/lines
	mv /tmp/lines /tmp/out
}

# snapshot: takes one; /tmp/out has the tracking of each namespace.
snapshot() {
	exits 0 nfsync snapshot -o json
	told </tmp/out >/tmp/lines
	mv /tmp/lines /tmp/out
}

# has PATTERN: a line of the output matches this extended regular expression.
has() { grep -qE -- "$1" /tmp/out || fail "nothing matches: $1"; }

# hasnt PATTERN: no line does.
hasnt() { ! grep -qE -- "$1" /tmp/out || fail "something matches: $1"; }

# count N PATTERN: so many lines match.
count() {
	found=$(grep -cE -- "$2" /tmp/out || true)
	[ "$found" = "$1" ] || fail "$found lines match, not $1: $2"
}

# is: the output is standard input, as a whole.
is() {
	cat >/tmp/wanted
	diff /tmp/wanted /tmp/out >/tmp/diff || { cat /tmp/diff; fail "the output is another"; }
}

# insync: the policies ask for nothing that is not so.
insync() {
	plan 0
	hasnt '^(change|refusal|pending)'
}

# loaded MODULE..., unloaded MODULE...
loaded() { for module; do grep -q "^$module " /proc/modules || fail "$module is not loaded"; done; }
unloaded() { for module; do ! grep -q "^$module " /proc/modules || fail "$module is loaded"; done; }

# netfilter lists what is loaded of netfilter, dependencies too, on one line.
netfilter() { cut -d' ' -f1 /proc/modules | grep -vxFf /vm/modules | sort | tr '\n' ' '; }

# reads FILE VALUE: a file of the kernel holds exactly this.
reads() { [ "$(cat "$1")" = "$2" ] || fail "$1 reads $(cat "$1"), not $2"; }

# sysctls of conntrack
conntrack=/proc/sys/net/netfilter/nf_conntrack
