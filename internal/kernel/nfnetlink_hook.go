package kernel

import (
	"context"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// Of linux/netfilter/nfnetlink_hook.h.
const (
	nfnlMsgHookGet        = 0
	nfnlaHookHooknum      = 1
	nfnlaHookFunctionName = 4
)

// conntrackHook returns the name of a hook of conntrack that is registered in the network
// namespace of the calling thread, and reports whether the kernel lists hooks. Conntrack
// registers its first hook at prerouting, in each family that it tracks.
func conntrackHook(ctx context.Context, m *nf.Modules) (name string, listed bool) {
	if there, err := hasModule(m, "nfnetlink_hook"); !there || err != nil || HookList.Lacks(m) {
		return "", false
	}
	conn, err := openNfnetlink()
	if err != nil {
		return "", false
	}
	defer conn.Close()
	for _, family := range []uint8{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6, unix.NFPROTO_BRIDGE} {
		hooks, err := conn.preroutingHooks(ctx, family)
		if err != nil {
			return "", false
		}
		if i := slices.IndexFunc(hooks, isConntrackHook); i >= 0 {
			return hooks[i], true
		}
	}
	return "", true
}

// isConntrackHook reports whether a hook function is one of conntrack: ipv4_conntrack_in,
// ipv6_conntrack_in (nf_conntrack_proto.c) or nf_ct_bridge_pre (nf_conntrack_bridge.c),
// all below net/. Those that reassemble fragments, ipv4_conntrack_defrag and ipv6_defrag,
// are used by tproxy and socket as well.
func isConntrackHook(function string) bool {
	return !strings.Contains(function, "defrag") &&
		(strings.Contains(function, "conntrack") || strings.HasPrefix(function, "nf_ct_"))
}

// preroutingHooks returns the names of the functions that are registered at prerouting, in
// their order. A name is empty if the kernel has no kallsyms.
func (n *nfnetlink) preroutingHooks(ctx context.Context, family uint8) ([]string, error) {
	const prerouting = 0 // NF_INET_PRE_ROUTING and NF_BR_PRE_ROUTING
	answers, err := n.ask(ctx, netlink.Dump, unix.NFNL_SUBSYS_HOOK, nfnlMsgHookGet, family, numberAttribute(nfnlaHookHooknum, prerouting))
	if err != nil {
		return nil, err
	}
	return parseHooks(answers)
}

// parseHooks returns the names of the functions in a dump. One without a name could
// belong to anything: errMalformed.
func parseHooks(answers []nfMessage) ([]string, error) {
	var names []string
	for _, m := range answers {
		f, err := parseFields(m.attributes, nfnlaHookFunctionName)
		if err != nil {
			return nil, err
		}
		if f[0].text() == "" {
			return nil, errMalformed
		}
		names = append(names, f[0].text())
	}
	return names, nil
}
