package diff

import (
	"fmt"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// Explanation is the row of a refusal code in the table of rules: its meaning,
// cause and remedy, what ends the refusal (the usual event first), and the sources.
type Explanation struct {
	Code    nf.Code    `json:"code"`
	Until   []nf.Until `json:"until"`
	Meaning string     `json:"meaning"`
	Cause   string     `json:"cause"`
	Remedy  string     `json:"remedy"`
	Sources []string   `json:"sources"`
}

// Explain returns the explanation of a refusal code.
func Explain(code nf.Code) (Explanation, bool) {
	r := ruleOf(code)
	if r == nil {
		return Explanation{}, false
	}
	return Explanation{r.code, r.until, r.meaning, r.cause, r.remedy, r.sources}, true
}

// KeyExplanation describes a key, its unit and the kernel file behind it.
type KeyExplanation struct {
	Key     string `json:"key"`
	Meaning string `json:"meaning"`
	Unit    string `json:"unit"`
	Where   string `json:"where"`
	Scope   string `json:"scope"`
}

const (
	scopeNodeAlways = "the node"
	scopeNodeMostly = "the node; in a container Linux 5.13 and later show the node's value read-only, the Virtuozzo 7 kernel keeps one per container, at most the node's"
	scopeEach       = "each network namespace, the node's and every container's"
)

// ExplainKey returns the explanation of a key such as conntrack.max,
// module/NAME or conntrack.timeouts.tcpEstablished.
func ExplainKey(name string) (KeyExplanation, bool) {
	k := nf.Key(name)
	e := KeyExplanation{Key: name}
	file, isSysctl := k.Sysctl()
	e.Where = "/proc/sys/net/netfilter/" + file
	switch {
	case k == nf.KeyLevel:
		e.Meaning = "The netfilter level, a ceiling: disabled (no rules), stateless (any rule that does not track), stateful (connection tracking), full (NAT too)."
		e.Unit, e.Where, e.Scope = "one of disabled, stateless, stateful, full", "the namespace's own rules; of a Virtuozzo 7 container ve.iptables_mask in its ve cgroup, and NETFILTER= in its ve.conf for the next start", scopeEach
	case k == nf.KeyAboveLevel:
		e.Meaning = "Whether the modules of levels that neither the node nor any container wants or has are left loaded."
		e.Unit, e.Where, e.Scope = "keep or unload", "/proc/modules", scopeNodeAlways
	case k == nf.KeyRestart:
		e.Meaning = "A cold start of a Virtuozzo container that nfsync makes to bring its saved level live: only with restart: allow in its policy, only while it is running, after all else, and once for a want. Its values are the live level before and after."
		e.Unit, e.Where, e.Scope = "one of disabled, stateless, stateful, full, before also custom(0x...)", "vzctl restart", "one container"
	case k == nf.KeyMax:
		e.Meaning = "The most connections that are tracked at one time, in each network namespace. Over it new connections are dropped. 0 is no limit."
		e.Unit, e.Scope = "entries", scopeNodeMostly
	case k == nf.KeyBuckets:
		e.Meaning = "The size of the hash table of connections. The kernel rounds it up to a whole page. Changing it does not change conntrack.max."
		e.Unit, e.Scope = "hash buckets", scopeNodeAlways
	case k == nf.KeyExpectMax:
		e.Meaning = "The most expected connections (of FTP, SIP and other helpers)."
		e.Unit, e.Scope = "entries", scopeNodeMostly
	default:
		return explainNamed(k, e, isSysctl)
	}
	return e, true
}

func explainNamed(k nf.Key, e KeyExplanation, isSysctl bool) (KeyExplanation, bool) {
	if name, ok := k.Module(); ok && name != "" {
		e.Meaning = fmt.Sprintf("Whether the kernel module %s is loaded, and its parameters.", name)
		e.Unit, e.Where, e.Scope = "loaded or unloaded", "/proc/modules, /sys/module/"+name, scopeNodeAlways
		return e, true
	}
	switch e.Key {
	case "conntrack.timeouts.NAME":
		e.Meaning = "How long a connection in a state is kept without a packet. NAME is one of " + strings.Join(nf.TimeoutNames(), ", ") + "."
		e.Unit, e.Where, e.Scope = "whole seconds", "/proc/sys/net/netfilter/nf_conntrack_*_timeout*", scopeEach
		return e, true
	case "conntrack.sysctls.NAME":
		e.Meaning = "A value of connection tracking. NAME is its kernel name, nf_conntrack_tcp_loose for instance (Documentation/networking/nf_conntrack-sysctl.rst)."
		e.Unit, e.Where, e.Scope = "a whole number", "/proc/sys/net/netfilter/NAME", scopeEach
		return e, true
	}
	if name, ok := k.Timeout(); ok && slices.Contains(nf.TimeoutNames(), name) {
		e.Meaning = "How long a connection in this state is kept without a packet."
		e.Unit, e.Scope = "whole seconds", scopeEach
		return e, true
	}
	if k.Conntrack() && isSysctl && strings.HasPrefix(e.Where, "/proc/sys/net/netfilter/nf_conntrack_") {
		if _, ok := k.Timeout(); !ok {
			e.Meaning = "A value of connection tracking, by its kernel name (Documentation/networking/nf_conntrack-sysctl.rst)."
			e.Unit, e.Scope = "a whole number", scopeEach
			return e, true
		}
	}
	return KeyExplanation{}, false
}
