package diff

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/nf"
)

// TestIDLines holds the lines that are hashed to be those that encoding/json writes.
func TestIDLines(t *testing.T) {
	texts := rapid.SampledFrom([]string{"", "web-1", "<&>", `a"b\c`, "ü\u2028", "\x01\x7f", "bad\xff", "conntrack.max"})
	rapid.Check(t, func(t *rapid.T) {
		text := func(what string) string { return texts.Draw(t, what) }
		number := rapid.Int64().Draw(t, "number")
		values := rapid.SampledFrom([]nf.Value{nf.Absent(), nf.Number(number), nf.Text(text("value")), nf.Unknown(text("why")), nf.LevelFull.Value(),
			nf.Module(nf.ModuleLoaded, nil), nf.Module(nf.ModuleLoaded, map[string]string{text("parameter"): text("its value")})})
		target := nf.Target{Kind: text("kind"), Runtime: text("runtime"), ID: text("id"), Name: text("name")}
		wishes := rapid.SampledFrom([]nf.Wish{nf.Exactly(values.Draw(t, "exact")), {AtLeast: 1, AtMost: number}, {AtMost: 5}})
		var rivals []nf.Rival
		var rivalWishes []nf.Wish
		for range rapid.IntRange(0, 2).Draw(t, "rivals") {
			wish := wishes.Draw(t, "rival")
			rivals, rivalWishes = append(rivals, nf.Rival{Wish: wish}), append(rivalWishes, wish)
		}
		first, wish, value := text("first"), wishes.Draw(t, "wish"), values.Draw(t, "value")

		l := idLines{hash: sha256.New()}
		l.begin(first).text("x").target(target).wish(wish).value(value).rivals(rivals).end()
		h := sha256.New()
		if err := json.NewEncoder(h).Encode([]any{first, "x", target, wish, value, rivalWishes}); err != nil {
			t.Fatal(err)
		}
		if got, want := hex.EncodeToString(l.hash.Sum(nil)), hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("the line is %s", l.line)
		}
	})
}

// TestIDStays holds the id of a plan to be that of earlier versions of nfsync.
func TestIDStays(t *testing.T) {
	s, list := fleet(3)
	if got, want := Plan(nf.Wants{List: list}, s).ID, "sha256:3e2c3f09d690f7a9d42f3a01e9c00d2153c4121ac6ed826fe14c7f2e3044e4e6"; got != want {
		t.Errorf("the id is %s, want %s", got, want)
	}
}
