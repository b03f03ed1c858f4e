# Parameters: at load; live where /sys/module has them writable; refused with
# reload-required where only loading sets them.

policy <<P
modules:
  ip_set: {state: loaded, parameters: {max_sets: 300}}
  nf_conntrack_ftp: {state: loaded, parameters: {ports: "2121,21"}}
  nf_conntrack: {state: loaded, parameters: {hashsize: 8192}}
P
plan 0
has '^change node module/ip_set unloaded -> \{"parameters":\{"max_sets":"300"\},"state":"loaded"\}'
has '^change node module/nf_conntrack_ftp unloaded -> '
apply 0
reads /sys/module/ip_set/parameters/max_sets 300
reads /sys/module/nf_conntrack/parameters/hashsize 8192
case $(cat /sys/module/nf_conntrack_ftp/parameters/ports) in 2121,21*) ;; *) fail "ftp ports" ;; esac
plan 0
cat /tmp/out

# On loaded modules.
policy <<P
modules:
  ip_set: {state: loaded, parameters: {max_sets: 400}}
  nf_conntrack_ftp: {state: loaded, parameters: {ports: "2222"}}
  nf_conntrack: {state: loaded, parameters: {hashsize: 16384, acct: 1}}
P
plan 3
has '^refusal node module/ip_set reload-required: .*max_sets'
has '^refusal node module/nf_conntrack_ftp reload-required: .*ports'
has '^change node module/nf_conntrack .*one-way'
apply 3
reads /sys/module/nf_conntrack/parameters/hashsize 16384
reads /sys/module/nf_conntrack/parameters/acct Y
reads /sys/module/ip_set/parameters/max_sets 300
reads ${conntrack}_buckets 16384

# A parameter that the module does not have is told, where the kernel would
# only log it; and so is a value that it does not take.
policy <<P
modules:
  xt_recent: {state: loaded, parameters: {nonsense: 1}}
P
apply 5
has '^failed node module/xt_recent .*it has no parameter nonsense'
unloaded xt_recent
policy <<P
modules:
  xt_recent: {state: loaded, parameters: {ip_list_tot: abc}}
P
apply 5
has '^failed node module/xt_recent .*the kernel refuses a parameter'
unloaded xt_recent x_tables
