package fleet_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

func newKey(t *testing.T) (key nkeys.KeyPair, public string) {
	t.Helper()
	key, err := nkeys.CreateUser()
	if err == nil {
		public, err = key.PublicKey()
	}
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

// TestSeal: what is opened is what was sealed, and nothing else.
func TestSeal(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	other, otherPublic := newKey(t)
	seal := func(what, channel string, document any, key nkeys.KeyPair) []byte {
		t.Helper()
		sealed, err := fleet.Seal(what, channel, document, key)
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	document := nf.RolloutDocument{Channel: "main", Generation: 3, Reason: "<a> & \u2028 b"}
	good := seal(fleet.SealRollout, "main", document, key)
	var opened nf.RolloutDocument
	if err := fleet.Open(fleet.SealRollout, "main", good, public, &opened); err != nil || opened.Generation != 3 || opened.Reason != document.Reason {
		t.Fatalf("%+v, %v", opened, err)
	}
	edit := func(change func(map[string]string)) []byte {
		var e map[string]string
		if err := json.Unmarshal(good, &e); err != nil {
			t.Fatal(err)
		}
		change(e)
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		sealed []byte
		what   string
		key    string
	}{
		"another key":           {sealed: seal(fleet.SealRollout, "main", document, other)},
		"another's public key":  {sealed: good, key: otherPublic},
		"no public key":         {sealed: good, key: "none"},
		"another channel":       {sealed: seal(fleet.SealRollout, "other", document, key)},
		"a grant":               {sealed: seal(fleet.SealGrant, "main", document, key)},
		"taken for a grant":     {sealed: good, what: fleet.SealGrant},
		"a channel that begins": {sealed: seal(fleet.SealRollout, "main\n{", document, key)},
		"another payload":       {sealed: edit(func(e map[string]string) { e["payload"] = strings.Replace(e["payload"], "3", "4", 1) })},
		"a space more":          {sealed: edit(func(e map[string]string) { e["payload"] += " " })},
		"no signature":          {sealed: edit(func(e map[string]string) { delete(e, "signature") })},
		"an empty signature":    {sealed: edit(func(e map[string]string) { e["signature"] = "" })},
		"a short signature":     {sealed: edit(func(e map[string]string) { e["signature"] = e["signature"][:40] })},
		"truncated":             {sealed: good[:len(good)-20]},
		"empty":                 {sealed: nil},
		"not sealed":            {sealed: []byte(`{"kind":"RolloutDocument","channel":"main"}`)},
		"no document":           {sealed: seal(fleet.SealRollout, "main", []int{1}, key)},
	} {
		if c.what == "" {
			c.what = fleet.SealRollout
		}
		if c.key == "" {
			c.key = public
		}
		var d nf.RolloutDocument
		err := fleet.Open(c.what, "main", c.sealed, c.key, &d)
		if _, ok := errors.AsType[*fleet.ForgedError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
