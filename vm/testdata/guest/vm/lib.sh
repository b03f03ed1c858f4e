# The functions of the cases: sourced before each. /tmp/out and /tmp/err have the
# output of the last program.
. /vm/disk.sh

# fail MESSAGE: ends the case, with the output of the last program.
fail() {
	echo "FAILED: $*"
	if head -n 1 /tmp/out 2>/dev/null | grep -q '^{'; then
		entries </tmp/out
	else
		cat /tmp/out 2>/dev/null
	fi
	cat /tmp/err 2>/dev/null
	exit 1
}

# exits CODE COMMAND...: runs the command, which must end with this exit code.
exits() {
	wanted=$1
	shift
	echo "+ $*"
	code=0
	"$@" >/tmp/out 2>/tmp/err </dev/null || code=$?
	[ $code = "$wanted" ] || fail "exit $code, not $wanted"
}

# policy: writes a NodePolicy, whose spec is standard input, as the only policy.
policy() {
	rm -rf /policy
	mkdir /policy
	{
		printf 'apiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\nmetadata: {name: node}\nspec:\n'
		sed 's/^/  /'
	} >/policy/node.yaml
}

# containers: adds a ContainerPolicy, whose spec is standard input.
containers() {
	{
		printf 'apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: containers}\nspec:\n'
		sed 's/^/  /'
	} >/policy/containers.yaml
}

# to_lines: turns /tmp/out, a document in JSON, into one line for each entry
# (testdata/entries).
to_lines() {
	entries </tmp/out >/tmp/lines
	mv /tmp/lines /tmp/out
}

# plan CODE [FLAG...]: plans the policies. /tmp/out then has a line for each entry.
plan() {
	wanted=$1
	shift
	exits "$wanted" nfsync plan /policy -o json "$@"
	to_lines
}

# apply CODE [FLAG...]: applies the policies. /tmp/out then has a line for each entry.
apply() {
	wanted=$1
	shift
	exits "$wanted" nfsync apply /policy --yes -o json "$@"
	to_lines
}

# snapshot: takes a snapshot. /tmp/out then has a line for each namespace.
snapshot() {
	exits 0 nfsync snapshot -o json
	to_lines
}

# has PATTERN: a line of the output must match this extended regular expression.
has() { grep -qE -- "$1" /tmp/out || fail "nothing matches: $1"; }

# hasnt PATTERN: no line of the output may match it.
hasnt() { ! grep -qE -- "$1" /tmp/out || fail "something matches: $1"; }

# count N PATTERN: N lines of the output must match it.
count() {
	found=$(grep -cE -- "$2" /tmp/out || true)
	[ "$found" = "$1" ] || fail "$found lines match, not $1: $2"
}

# is: the whole output must be equal to standard input.
is() {
	cat >/tmp/wanted
	diff /tmp/wanted /tmp/out >/tmp/diff || { cat /tmp/diff; fail "the output differs"; }
}

# insync: the plan must have no change, no refusal and nothing pending.
insync() {
	plan 0
	hasnt '^(change|refusal|pending)'
}

# loaded MODULE..., unloaded MODULE...: the modules must be loaded, or must not be.
loaded() { for module; do grep -q "^$module " /proc/modules || fail "$module is not loaded"; done; }
unloaded() { for module; do ! grep -q "^$module " /proc/modules || fail "$module is loaded"; done; }

# netfilter: prints the modules that were loaded since the start, sorted, on one line.
netfilter() { cut -d' ' -f1 /proc/modules | grep -vxFf /vm/modules | sort | tr '\n' ' '; }

# reads FILE VALUE: a file of the kernel must have exactly this value.
reads() { [ "$(cat "$1")" = "$2" ] || fail "$1 reads $(cat "$1"), not $2"; }

# The start of the paths of conntrack's sysctls.
conntrack=/proc/sys/net/netfilter/nf_conntrack
