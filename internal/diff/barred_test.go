package diff

import (
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// What a bar ends with, and what is to be done, is another thing for a file than
// for the kernel's command line (modprobe.d(5); kernel/module/main.c).
func TestBarsEnd(t *testing.T) {
	for _, test := range []struct {
		bar            nf.Bar
		until          nf.Until
		remedy, reason string
	}{
		{localConf, nf.UntilModuleLoad, "remove line 3 of /etc/modprobe.d/local.conf, or want ip_set unloaded", `local.conf:3 says "blacklist it"`},
		{nf.Bar{File: "/proc/cmdline", Says: "module_blacklist=ip_set"}, nf.UntilNodeRestart, "restart the node", `/proc/cmdline says "module_blacklist=ip_set"`},
	} {
		p := Plan(wants(wantModule("ip_set", nf.ModuleLoaded, nil)), mainline(barred("ip_set", test.bar)))
		if len(p.Refusals) != 1 {
			t.Fatalf("%+v", p)
		}
		if r := p.Refusals[0]; r.Until != test.until || !strings.Contains(r.Remedy, test.remedy) || !strings.Contains(r.Reason, test.reason) {
			t.Errorf("%+v, want %+v", r, test)
		}
		e, _ := Explain(p.Refusals[0].Code)
		if !strings.Contains(untils(e), string(test.until)) {
			t.Errorf("%s is not among what ends it: %v", test.until, e.Until)
		}
	}
}

func untils(e Explanation) string {
	var all []string
	for _, u := range e.Until {
		all = append(all, string(u))
	}
	return strings.Join(all, " ")
}

// A module that needs a barred one names the bar: wanting it is no remedy.
func TestBarredNeed(t *testing.T) {
	// iptable_filter needs x_tables, which nothing loads for it, before ip_tables.
	for needs, barring := range map[string]string{"ip_tables": "x_tables", "iptable_filter": "ip_tables"} {
		p := Plan(wants(wantModule(needs, nf.ModuleLoaded, nil)), mainline(barred(barring, localConf)))
		if len(p.Changes) != 0 || len(p.Refusals) != 2 {
			t.Errorf("%+v", p)
		}
		for _, r := range p.Refusals {
			if r.Code == nf.NotLoaded && (!strings.Contains(r.Reason, "local.conf:3") || !strings.Contains(r.Remedy, "let "+barring+" be loaded")) {
				t.Errorf("%+v", r)
			}
		}
	}
}

// A line that a refusal names is not warned about once more; another one is.
func TestBarIsToldOnce(t *testing.T) {
	s := mainline(bootFiles, barred("ip_set", localConf))
	unloaded := nf.Module(nf.ModuleUnloaded, nil)
	module(s, "ip_set").Declared = []nf.Declaration{{File: localConf.File, Line: 3, Value: unloaded}, {File: localConf.File, Line: 4, Value: unloaded}}
	p := Plan(wants(wantModule("ip_set", nf.ModuleLoaded, nil)), s)
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0].Message, "local.conf:4") {
		t.Errorf("%+v", p.Warnings)
	}
}

// Just before it is made, a change is judged from what the boot files hold then.
func TestCheckBoot(t *testing.T) {
	s := mainline(bootFiles)
	c := nf.Change{Target: nf.Node, Key: nf.KeyMax, Layer: nf.LayerBoot, From: nf.Absent(), To: nf.Number(5)}
	if r := NewWorld(s).Check(c); r != nil {
		t.Errorf("%+v", r)
	}
	s.Capabilities.BootUnknown = "EIO"
	if r := NewWorld(s).Check(c); r == nil || r.Code != nf.Unobservable || !strings.Contains(r.Reason, "EIO") {
		t.Errorf("%+v", r)
	}
}
