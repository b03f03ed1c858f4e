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
	edit := func(change func(map[string]any)) []byte {
		var e map[string]any
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
		"another payload":       {sealed: edit(func(e map[string]any) { e["payload"] = strings.Replace(e["payload"].(string), "3", "4", 1) })},
		"a space more":          {sealed: edit(func(e map[string]any) { e["payload"] = e["payload"].(string) + " " })},
		"another generation":    {sealed: edit(func(e map[string]any) { e["generation"] = 4 })},
		"no signature":          {sealed: edit(func(e map[string]any) { delete(e, "signature") })},
		"an empty signature":    {sealed: edit(func(e map[string]any) { e["signature"] = "" })},
		"a short signature":     {sealed: edit(func(e map[string]any) { e["signature"] = e["signature"].(string)[:40] })},
		"truncated":             {sealed: good[:len(good)-20]},
		"empty":                 {sealed: nil},
		"not sealed":            {sealed: []byte(`{"kind":"RolloutDocument","channel":"main"}`)},
		"no document":           {sealed: seal(fleet.SealRollout, "main", map[string]string{"channel": "main", "revision": "a", "stepBegan": "now"}, key)},
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

// TestProof: a proof shows the generation of a document that the coordinator has signed for a channel, and no other.
func TestProof(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	other, _ := newKey(t)
	prove := func(what, channel string, document any, key nkeys.KeyPair) string {
		t.Helper()
		sealed, err := fleet.Seal(what, channel, document, key)
		if err != nil {
			t.Fatal(err)
		}
		return fleet.Prove(sealed)
	}
	document := nf.RolloutDocument{Channel: "main", Generation: 1<<64 - 1, Reason: strings.Repeat("long", 1000)}
	good := prove(fleet.SealRollout, "main", document, key)
	if g, err := fleet.Proven(good, "main", public); err != nil || g != document.Generation || len(good) > 200 {
		t.Errorf("%d, %v, of a proof of %d bytes", g, err, len(good))
	}
	parts := strings.Split(good, ".")
	for name, c := range map[string]struct{ proof, channel string }{
		"empty":              {"", "main"},
		"two parts":          {"1.2", "main"},
		"no generation":      {"." + parts[1] + "." + parts[2], "main"},
		"another generation": {"7." + parts[1] + "." + parts[2], "main"},
		"another document":   {parts[0] + ".x" + parts[1][1:] + "." + parts[2], "main"},
		"no signature":       {parts[0] + "." + parts[1] + ".", "main"},
		"no base64":          {parts[0] + "." + parts[1] + ".!", "main"},
		"another key":        {prove(fleet.SealRollout, "main", document, other), "main"},
		"another channel":    {good, "test"},
		"a grant":            {prove(fleet.SealGrant, fleet.GrantChannel("main", "hn-1"), nf.RestartGrant{Generation: 7}, key), "main"},
		"of no document":     {fleet.Prove([]byte("{")), "main"},
	} {
		g, err := fleet.Proven(c.proof, c.channel, public)
		if _, ok := errors.AsType[*fleet.ForgedError](err); !ok || g != 0 {
			t.Errorf("%s: %d, %v", name, g, err)
		}
	}
}
