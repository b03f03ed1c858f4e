package nf

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// drawWish draws a key and a wish that a policy can have for it, from few enough
// that two are often the same.
func drawWish(t *rapid.T) (Key, Wish) {
	number := rapid.Int64Range(1, 3)
	switch key := rapid.SampledFrom([]Key{KeyMax, KeyLevel, ModuleKey("ip_set")}).Draw(t, "key"); key {
	case KeyLevel:
		return key, Exactly(rapid.SampledFrom([]Level{LevelDisabled, LevelStateless, LevelStateful, LevelFull}).Draw(t, "level").Value())
	case KeyMax:
		if rapid.Bool().Draw(t, "exact") {
			return key, Exactly(Number(number.Draw(t, "number")))
		}
		return key, Wish{AtLeast: number.Draw(t, "at least"), AtMost: rapid.Int64Range(0, 3).Draw(t, "at most")}
	default:
		state := rapid.SampledFrom([]string{ModuleLoaded, ModuleUnloaded}).Draw(t, "state")
		value := rapid.SampledFrom([]string{"", "1", "a b=c", `"`, "ü"})
		return key, Exactly(Module(state, rapid.MapOfN(rapid.SampledFrom([]string{"a", "b"}), value, 0, 2).Draw(t, "parameters")))
	}
}

// TestWishRoundTrip: a wish that is read back for its key is the same, and two
// that differ are written differently.
func TestWishRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, a := drawWish(t)
		other, b := drawWish(t)
		text, back := written(t, a), Wish{}
		if err := json.Unmarshal([]byte(text), &back); err != nil || back.As(key) != a {
			t.Fatalf("%s: %s reads as %#v, %v; want %#v", key, text, back.As(key), err, a)
		}
		if key == other && (text == written(t, b)) != (a == b) {
			t.Fatalf("%#v and %#v are both %s", a, b, text)
		}
	})
}

func written(t interface{ Fatal(...any) }, w Wish) string {
	text, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestWishJSON: what a person reads in a snapshot's memory.
func TestWishJSON(t *testing.T) {
	for want, wish := range map[string]Wish{
		`50000`:      Exactly(Number(50000)),
		`"stateful"`: Exactly(LevelStateful.Value()),
		`"loaded"`:   Exactly(Module(ModuleLoaded, nil)),
		`{"state":"loaded","parameters":{"max_sets":"512"}}`: Exactly(Module(ModuleLoaded, map[string]string{"max_sets": "512"})),
		`{"atLeast":1000}`:               {AtLeast: 1000},
		`{"atMost":2000}`:                {AtMost: 2000},
		`{"atLeast":1000,"atMost":2000}`: {AtLeast: 1000, AtMost: 2000},
	} {
		if got := written(t, wish); got != want {
			t.Errorf("%v is %s, want %s", wish, got, want)
		}
	}
	for _, text := range []string{`true`, `[]`, `{}`, `{"atLeast":"5"}`, `1.5`} {
		var w Wish
		if err := json.Unmarshal([]byte(text), &w); err == nil {
			t.Errorf("%s reads as %#v", text, w)
		}
	}
}

// TestSameTextOtherWish: wishes that people read the same are not the same.
func TestSameTextOtherWish(t *testing.T) {
	for _, pair := range [][2]Wish{
		{Exactly(Number(5)), Exactly(Text("5"))},
		{{AtLeast: 5}, Exactly(Text(Wish{AtLeast: 5}.String()))},
		{Exactly(Module(ModuleLoaded, nil)), Exactly(Text("loaded"))},
		{Exactly(Module(ModuleLoaded, map[string]string{"a": "1 b=2"})), Exactly(Module(ModuleLoaded, map[string]string{"a": "1", "b": "2"}))},
		{Exactly(Unknown("EIO")), Exactly(Unknown("EPERM"))},
	} {
		if pair[0].String() != pair[1].String() || pair[0] == pair[1] {
			t.Errorf("%#v and %#v: they read %q and %q", pair[0], pair[1], pair[0], pair[1])
		}
	}
}
