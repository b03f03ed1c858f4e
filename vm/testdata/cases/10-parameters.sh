# Parameters: set with the load; set live if they are writable in /sys/module; refused
# with reload-required if only loading sets them.

policy <<P
modules:
  xt_recent: {state: loaded, parameters: {ip_list_tot: 300}}
  nf_conntrack_ftp: {state: loaded, parameters: {ports: "2121,21"}}
  nf_conntrack: {state: loaded, parameters: {hashsize: 8192}}
P
plan 0
has '^change node module/xt_recent unloaded -> \{"state":"loaded","parameters":\{"ip_list_tot":"300"\}\}'
has '^change node module/nf_conntrack_ftp unloaded -> '
apply 0
reads /sys/module/xt_recent/parameters/ip_list_tot 300
reads /sys/module/nf_conntrack/parameters/hashsize 8192
case $(cat /sys/module/nf_conntrack_ftp/parameters/ports) in 2121,21*) ;; *) fail "ftp ports" ;; esac
insync

# The modules are loaded now.
policy <<P
modules:
  xt_recent: {state: loaded, parameters: {ip_list_tot: 400}}
  nf_conntrack_ftp: {state: loaded, parameters: {ports: "2222"}}
  nf_conntrack: {state: loaded, parameters: {hashsize: 16384, acct: 1}}
P
plan 3
has '^refusal node module/xt_recent reload-required: .*ip_list_tot'
has '^refusal node module/nf_conntrack_ftp reload-required: .*ports'
has '^change node module/nf_conntrack .*one-way'
apply 3
reads /sys/module/nf_conntrack/parameters/hashsize 16384
reads /sys/module/nf_conntrack/parameters/acct Y
reads /sys/module/xt_recent/parameters/ip_list_tot 300
reads ${conntrack}_buckets 16384

# A parameter that the module does not have is refused; the kernel would only log it.
# A value that the kernel rejects fails.
policy <<P
modules:
  xt_hashlimit: {state: loaded, parameters: {nonsense: 1}}
P
plan 3
has '^refusal node module/xt_hashlimit missing: xt_hashlimit has no parameter nonsense'
hasnt '^change'
apply 3
unloaded xt_hashlimit
policy <<P
modules:
  ip_set: {state: loaded, parameters: {max_sets: abc}}
P
apply 5
has '^failed node module/ip_set .*the kernel refuses a parameter'
unloaded ip_set
