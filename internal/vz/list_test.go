package vz

import (
	"slices"
	"strings"
	"testing"
)

// A container that prlctl lists without a CTID is found by its UUID, in a configuration or in
// the list of vzlist.
func TestMerge(t *testing.T) {
	const a, b, c = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002", "cccccccc-0000-4000-8000-000000000003"
	root := t.TempDir()
	write(t, root, "etc/vz/conf/103.conf", `UUID="`+strings.ToUpper(b)+`"`)
	write(t, root, "etc/vz/conf/"+c+".conf", "")
	write(t, root, "etc/vz/conf/0.conf", `UUID="`+a+`"`)
	n := Runtime{Root: root}.node()
	for _, test := range []struct {
		name          string
		vz, prl       []entry
		list, unknown []entry
	}{
		{"by CTID", []entry{{ctid: "101", vzlist: "running"}}, []entry{{ctid: "101", uuid: a, name: "web", prlctl: "running", typ: "CT"}},
			[]entry{{ctid: "101", uuid: a, name: "web", vzlist: "running", prlctl: "running"}}, nil},
		{"by vzlist's UUID", []entry{{ctid: "101", uuid: a, vzlist: "running"}}, []entry{{uuid: a, name: "web", prlctl: "migrating"}},
			[]entry{{ctid: "101", uuid: a, name: "web", vzlist: "running", prlctl: "migrating"}}, nil},
		{"by UUID, with another CTID", []entry{{ctid: "101", uuid: a, vzlist: "running"}}, []entry{{ctid: a, uuid: a, name: "web", prlctl: "running"}},
			[]entry{{ctid: "101", uuid: a, name: "web", vzlist: "running", prlctl: "running"}}, nil},
		{"by a configuration's UUID", nil, []entry{{uuid: b, prlctl: "stopped", typ: "CT"}}, []entry{{ctid: "103", uuid: b, prlctl: "stopped"}}, nil},
		{"by a configuration's name", nil, []entry{{uuid: c, prlctl: "stopped", typ: "CT"}}, []entry{{ctid: c, uuid: c, prlctl: "stopped"}}, nil},
		{"unknown", nil, []entry{{uuid: a, prlctl: "stopped", typ: "CT"}, {uuid: a, prlctl: "stopped"}}, nil, []entry{{uuid: a, prlctl: "stopped", typ: "CT"}}},
		{"virtual machines", nil, []entry{{ctid: "9", uuid: b, typ: "VM"}}, nil, nil},
		{"twice", []entry{{ctid: "2", vzlist: "running"}, {ctid: "10", vzlist: "stopped"}, {ctid: "2", vzlist: "stopped"}}, nil,
			[]entry{{ctid: "10", vzlist: "stopped"}, {ctid: "2", vzlist: "running"}}, nil},
	} {
		list, unknown := n.merge(test.vz, test.prl)
		if !slices.Equal(list, test.list) || !slices.Equal(unknown, test.unknown) {
			t.Errorf("%s: %+v, unknown %+v", test.name, list, unknown)
		}
	}
}

// The states are those of vmstate2str in src/Utils.cpp of prlctl, and of
// src/vzlist.c of vzctl.
func TestStates(t *testing.T) {
	for _, test := range []struct{ vzlist, prlctl, want string }{
		{"running", "running", "running"}, {"running", "paused", "running"}, {"paused", "", "paused"}, {"", "stopped", "stopped"},
		{"running", "migrating", "migrating"}, {"stopped", "starting", "starting"}, {"suspended", "resuming", "resuming"},
		{"running", "invalid", "invalid"}, {"running", "unknown", "unknown"}, {"", "invalid", "invalid"}, {"unknown", "running", "unknown"},
	} {
		if got := (entry{vzlist: test.vzlist, prlctl: test.prlctl}).state(); got != test.want {
			t.Errorf("vzlist has %q and prlctl %q: %q, want %q", test.vzlist, test.prlctl, got, test.want)
		}
	}
}
