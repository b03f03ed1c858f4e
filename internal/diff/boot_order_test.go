package diff

import (
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// systemd-sysctl.service is ordered after systemd-modules-load.service and before
// sysinit.target, so before any firewall. What systemd-modules-load loads is said by
// modules-load.d(5); modprobe.d(5) and modules.dep(5) say what is loaded with it. Each
// row was compared with libkmod 30.
func TestBootOrder(t *testing.T) {
	loaded, unloaded := nf.Module(nf.ModuleLoaded, nil), nf.Module(nf.ModuleUnloaded, nil)
	declares := func(name, directive string, v nf.Value) edit {
		return func(s *nf.Snapshot) {
			m := module(s, name)
			m.Declared = append(m.Declared, nf.Declaration{File: "/etc/x.conf", Line: 7, Directive: directive, Value: v})
		}
	}
	limit := want(nf.Node, nf.KeyMax, nf.Number(262144))
	old := func(s *nf.Snapshot) {
		bootFiles(s)
		setFact(&s.Host, nf.KeyMax, func(f *nf.Fact) { f.Parameter = "nf_conntrack.hashsize" })
	}
	for _, test := range []struct {
		name   string
		snap   *nf.Snapshot
		wants  []nf.Want
		expect string // in the warning; empty if there is none
	}{
		{"a module that only a rule loads", mainline(bootFiles), []nf.Want{limit}, "want modules: {nf_conntrack: loaded}, or level: stateful, or list it in /etc/modules-load.d"},
		{"a module that is not loaded now", mainline(bootFiles, func(s *nf.Snapshot) {
			isolate(s, "nf_conntrack")
			module(s, "nf_conntrack").State = nf.ModuleUnloaded
			dropConntrack(&s.Host)
		}),
			[]nf.Want{limit}, "nothing loads nf_conntrack"},
		{"saved already", mainline(bootFiles, func(s *nf.Snapshot) { boot(&s.Host, nf.KeyMax, nf.Number(262144)) }), []nf.Want{limit}, "nothing loads nf_conntrack"},
		{"built in", mainline(bootFiles, func(s *nf.Snapshot) { isolate(s, "nf_conntrack"); module(s, "nf_conntrack").State = nf.ModuleBuiltin }), []nf.Want{limit}, ""},
		{"no boot files", mainline(), []nf.Want{limit}, ""},
		{"a policy that wants the module", mainline(bootFiles), []nf.Want{limit, wantModule("nf_conntrack", nf.ModuleLoaded, nil)}, ""},
		{"a policy that wants a level of it", mainline(bootFiles), []nf.Want{limit, want(nf.Node, nf.KeyLevel, nf.LevelStateful.Value())}, ""},
		{"a container that wants a level of it", mainline(bootFiles), []nf.Want{limit, want(netns("web"), nf.KeyLevel, nf.LevelStateful.Value())}, ""},
		{"a level without it", mainline(bootFiles), []nf.Want{limit, want(nf.Node, nf.KeyLevel, nf.LevelStateless.Value())}, "nothing loads nf_conntrack"},
		{"a policy that wants what needs it", mainline(bootFiles), []nf.Want{limit, wantModule("nft_ct", nf.ModuleLoaded, nil)}, ""},
		{"nfsync lists it still", mainline(bootModule("nf_conntrack", loaded)), []nf.Want{limit}, ""},
		{"nfsync keeps it out", mainline(bootModule("nf_conntrack", unloaded), declares("nft_ct", nf.DirectiveLoad, loaded)), []nf.Want{limit}, "/etc/modprobe.d/nfsync.conf keeps out nf_conntrack"},
		{"another file lists it", mainline(bootFiles, declares("nf_conntrack", nf.DirectiveLoad, loaded)), []nf.Want{limit}, ""},
		{"another file lists what needs it", mainline(bootFiles, declares("nft_ct", nf.DirectiveLoad, loaded)), []nf.Want{limit}, ""},
		{"a value that sysctl.d cannot set", mainline(old, declares("nf_conntrack", nf.DirectiveLoad, loaded)), []nf.Want{limit}, "want that parameter of the module too"},
		{"and a parameter that can", mainline(old), []nf.Want{limit, wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"hashsize": "65536"})}, ""},
		{"and options of others that do", mainline(old, declares("nf_conntrack", nf.DirectiveLoad, loaded), func(s *nf.Snapshot) {
			setFact(&s.Host, nf.KeyMax, func(f *nf.Fact) {
				f.Declared = []nf.Declaration{{File: "/etc/x.conf", Directive: nf.DirectiveOptions, Value: nf.Number(262144)}}
			})
		}), []nf.Want{limit}, ""},
		{"a rule of udev sets the values then", mainline(bootFiles, func(s *nf.Snapshot) { module(s, "nf_conntrack").Rereads = true }), []nf.Want{limit}, ""},
		{"options load nothing", mainline(bootFiles, declares("nf_conntrack", nf.DirectiveOptions, nf.Module(nf.ModuleLoaded, map[string]string{"acct": "1"}))), []nf.Want{limit}, "nothing loads nf_conntrack"},
		{"listed, and on a blacklist", mainline(bootModule("nf_conntrack", loaded), declares("nf_conntrack", nf.DirectiveBlacklist, unloaded)), []nf.Want{limit}, "/etc/x.conf:7 keeps out nf_conntrack"},
		{"needed, and on a blacklist", mainline(bootModule("nft_ct", loaded), declares("nf_conntrack", nf.DirectiveBlacklist, unloaded)), []nf.Want{limit}, ""},
		{"needed, and another command", mainline(bootModule("nft_ct", loaded), declares("nf_conntrack", nf.DirectiveInstall, unloaded)), []nf.Want{limit}, "/etc/x.conf:7 keeps out nf_conntrack"},
		{"what needs it is kept out", mainline(bootModule("nft_ct", loaded), declares("nft_ct", nf.DirectiveBlacklist, unloaded)), []nf.Want{limit}, "nothing loads nf_conntrack"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, w := range Plan(wants(test.wants...), test.snap).Warnings {
				if w.Code == nf.WarnBootOrder {
					got = append(got, string(w.Key)+": "+w.Message)
				}
			}
			switch {
			case test.expect == "" && len(got) > 0, test.expect != "" && len(got) != 1,
				len(got) == 1 && (!strings.HasPrefix(got[0], "conntrack.max: ") || !strings.Contains(got[0], test.expect)):
				t.Errorf("%q, want %q", got, test.expect)
			}
		})
	}
}
