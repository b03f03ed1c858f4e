package diff

import (
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// foreign gives the container web a rule with a statement that nfsync does not know.
func foreign(what string) edit {
	return func(s *nf.Snapshot) {
		c := container(s, "web")
		c.Rules = &nf.Rules{Tables: []nf.Table{{Backend: nf.BackendNft, Family: "inet", Name: "t", Rules: 1, Uses: []nf.Use{{Chain: "input", What: what, Count: 1}}}}}
		live(&c.Namespace, nf.KeyLevel, nf.Absent())
	}
}

// builtinIPv6 gives the built-in module ipv6 the parameters that it has in
// net/ipv6/af_inet6.c: disable is 0444, autoconf is here 0644.
func builtinIPv6(s *nf.Snapshot) {
	module(s, "ipv6").Parameters = map[string]nf.Parameter{"disable": {Value: "0"}, "autoconf": {Value: "1", Writable: true}}
}

// No remedy is another kernel: nobody builds one for a policy.
func TestRemediesKeepTheKernel(t *testing.T) {
	check := func(code nf.Code, remedy string) {
		if strings.Contains(remedy, "boot a kernel") || strings.Contains(remedy, "a kernel that") {
			t.Errorf("%s: %s", code, remedy)
		}
	}
	for _, r := range rules {
		check(r.code, r.remedy)
	}
	for _, row := range ruleTests {
		for _, r := range Plan(wants(row.wants...), row.snap).Refusals {
			check(r.Code, r.Remedy)
		}
	}
}

// A name that became part of a module says so, unless the kernel has a name of that time.
func TestMergedModules(t *testing.T) {
	own := func(name string) edit {
		return func(s *nf.Snapshot) { s.Modules.Set(nf.ModuleFact{Name: name, State: nf.ModuleUnloaded}) }
	}
	for _, test := range []struct {
		name string
		snap *nf.Snapshot
		into string
	}{
		{"nf_nat_ipv4", mainline(own("nf_nat")), "nf_nat"},
		{"nf-nat-ipv4", mainline(own("nf_nat")), "nf_nat"},
		{"nf_conntrack_proto_gre", mainline(), "nf_conntrack"},
		{"nft_counter", mainline(), "nf_tables"},
		{"nf_log_ipv4", mainline(), ""},
		{"nf_nat_ipv6", mainline(own("nf_nat"), own("nf_nat_ipv4")), ""}, // built without IPv6
		{"xt_u32", mainline(), ""},
	} {
		if got := NewWorld(test.snap).mergedInto(test.name); got != test.into {
			t.Errorf("%s is part of %q, want %q", test.name, got, test.into)
		}
	}
	s := mainline(own("nf_nat"))
	p := Plan(wants(wantModule("nf_nat_ipv4", nf.ModuleLoaded, nil)), s)
	if len(p.Refusals) != 1 || p.Refusals[0].Code != nf.Missing || !strings.Contains(p.Refusals[0].Reason, "became part of nf_nat") ||
		!strings.Contains(p.Refusals[0].Remedy, "want nf_nat instead") || strings.Contains(p.Refusals[0].Remedy, "package") {
		t.Errorf("%+v", p.Refusals)
	}
	p = Plan(wants(wantModule("nf_nat_ipv4", nf.ModuleUnloaded, nil)), s)
	if len(p.Warnings) != 1 || p.Warnings[0].Code != nf.WarnModuleAbsent || !strings.Contains(p.Warnings[0].Message, "became part of nf_nat") {
		t.Errorf("%+v", p.Warnings)
	}
}

// A kernel that was updated and not booted.
func TestUpdatedKernel(t *testing.T) {
	s := mainline(func(s *nf.Snapshot) {
		s.Modules.Complete, s.Modules.Unknown, s.Modules.Installed = false, "the kernel was updated", []string{"6.12.9"}
	})
	p := Plan(wants(wantModule("xt_u32", nf.ModuleLoaded, nil)), s)
	if len(p.Refusals) != 1 || p.Refusals[0].Code != nf.Unobservable || p.Refusals[0].Remedy != "restart the node into the installed kernel (6.12.9)" {
		t.Errorf("%+v", p.Refusals)
	}
}
