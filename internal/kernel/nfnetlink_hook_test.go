package kernel

import (
	"errors"
	"slices"
	"testing"
)

// An answer as nfnl_hook_dump_one in net/netfilter/nfnetlink_hook.c makes it:
// hook number, priority, and the function with its module if it has one.
func hookAnswer(function, module string) nfMessage {
	const priority, moduleName = 2, 5
	var b []byte
	if module != "" {
		b = attr(moduleName, text(module))
	}
	if function != "" {
		b = append(b, attr(nfnlaHookFunctionName, text(function))...)
	}
	return nfMessage{2, slices.Concat(b, attr(nfnlaHookHooknum, number(0)), attr(priority, number(0xffffff38)))}
}

func TestParseHooks(t *testing.T) {
	got, err := parseHooks([]nfMessage{hookAnswer("ipv4_conntrack_defrag", "nf_defrag_ipv4"), hookAnswer("iptable_mangle_hook", ""), hookAnswer("ipv4_conntrack_in", "nf_conntrack")})
	if want := []string{"ipv4_conntrack_defrag", "iptable_mangle_hook", "ipv4_conntrack_in"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if got, err := parseHooks(nil); err != nil || got != nil {
		t.Errorf("no hooks: %q, %v", got, err)
	}
	// Without CONFIG_KALLSYMS: anything could be behind it.
	if _, err := parseHooks([]nfMessage{hookAnswer("", "")}); !errors.Is(err, errMalformed) {
		t.Errorf("a hook without a name: %v, want %v", err, errMalformed)
	}
	if _, err := parseHooks([]nfMessage{{2, []byte{1, 2, 3}}}); !errors.Is(err, errMalformed) {
		t.Errorf("three bytes: %v, want %v", err, errMalformed)
	}
}

func TestIsConntrackHook(t *testing.T) {
	for function, want := range map[string]bool{
		"ipv4_conntrack_in": true, "ipv6_conntrack_in": true, // net/netfilter/nf_conntrack_proto.c
		"nf_ct_bridge_pre":      true,                        // net/bridge/netfilter/nf_conntrack_bridge.c
		"ipv4_conntrack_defrag": false, "ipv6_defrag": false, // tproxy and socket need these too
		"nft_do_chain_inet": false, "nf_nat_ipv4_pre_routing": false, "apparmor_ip_postroute": false, "br_nf_pre_routing": false,
	} {
		if got := isConntrackHook(function); got != want {
			t.Errorf("%s: %v, want %v", function, got, want)
		}
	}
}
