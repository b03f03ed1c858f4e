package view

import (
	"bytes"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// TestWritePlan holds the JSON of a plan that is written list by list to be that of the whole.
func TestWritePlan(t *testing.T) {
	hostile := planOf(listPart)
	hostile.Node = "\n  \"changes\": []\u202e##[group]"
	hostile.Changes[len(hostile.Changes)-1].Source.Name = "##vso[task.complete]\u202e]\n"
	for name, p := range map[string]nf.Plan{"nothing": emptyPlan(), "one part": planOf(1), "parts of full length": hostile, "more": planOf(listPart + 1),
		"all lists": thousandPlan(), "all that there is": richPlan(), "refused": refusedPlan(), "hostile": hostilePlan()} {
		want, err := encodeJSON(planJSON(p))
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := Plans.Write(&got, FormatJSON, p, Options{}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: the lists are written differently: %d and %d bytes", name, got.Len(), len(want))
		}
	}
}
