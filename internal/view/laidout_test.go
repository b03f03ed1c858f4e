package view

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// TestSnapshotLaidOut: fmt leaves a snapshot as it is written, whatever the names in it.
func TestSnapshotLaidOut(t *testing.T) {
	hostile := richSnapshot()
	hostile.Node.Name = hostileNames[0]
	for _, name := range append(hostileNames, "a: b", "'a'", `"a"`, "a\\b", "yes", "5d", " a", "#", "") {
		if !strings.Contains(name, "\n") { // yaml.v3 writes such a key behind a question mark
			hostile.Node.Labels[name] = name
		}
		hostile.Warnings = append(hostile.Warnings, nf.Warning{Code: "x", Message: name})
	}
	for name, s := range map[string]nf.Snapshot{"rich": richSnapshot(), "hostile": hostile} {
		var out bytes.Buffer
		if err := Snapshots.Write(&out, FormatYAML, s, Options{}); err != nil {
			t.Fatal(err)
		}
		text, found := spec.Format(spec.File{Name: name, Data: out.Bytes()})
		if len(found) > 0 {
			t.Fatalf("%s: %v", name, found)
		}
		if diff := cmp.Diff(out.String(), string(text)); diff != "" {
			t.Errorf("%s: -written +laid out\n%s", name, diff)
		}
	}
}
