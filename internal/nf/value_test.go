package nf

import (
	"encoding/json"
	"maps"
	"testing"
)

func TestValueJSON(t *testing.T) {
	for _, test := range []struct {
		value Value
		json  string
		text  string
	}{
		{Absent(), `null`, "absent"},
		{Number(7200), `7200`, "7200"},
		{Number(-1), `-1`, "-1"},
		{Text("lots"), `"lots"`, "lots"},
		{Text(""), `""`, ""},
		{Unknown("EPERM"), `{"unknown":"EPERM"}`, "unknown"},
		{Module(ModuleLoaded, map[string]string{"b": "2", "a": "1"}), `{"state":"loaded","parameters":{"a":"1","b":"2"}}`, "loaded (a=1 b=2)"},
	} {
		data, err := json.Marshal(test.value)
		if err != nil || string(data) != test.json {
			t.Errorf("%v: got %s, %v, want %s", test.value, data, err, test.json)
		}
		var back Value
		if err := json.Unmarshal(data, &back); err != nil || back != test.value {
			t.Errorf("%s reads as %#v, %v", data, back, err)
		}
		if got := test.value.String(); got != test.text {
			t.Errorf("%s: people read %q, want %q", data, got, test.text)
		}
	}
}

func TestModuleStateIsAPlainString(t *testing.T) {
	v := Module(ModuleUnloaded, nil)
	data, err := json.Marshal(v)
	if err != nil || string(data) != `"unloaded"` {
		t.Fatalf("got %s, %v", data, err)
	}
	var back Value
	if err := json.Unmarshal(data, &back); err != nil || back.As(ModuleKey("ip_set")) != v || back.As(KeyLevel) != Text("unloaded") {
		t.Errorf("read as %#v, %v", back, err)
	}
}

// TestLevelsAreWrittenByName: only the key tells a level, or a mask, from a text.
func TestLevelsAreWrittenByName(t *testing.T) {
	for text, v := range map[string]Value{
		`"disabled"`: LevelDisabled.Value(), `"full"`: LevelFull.Value(),
		`"custom(0xc000003)"`: MaskValue(0xc000003), `"custom(0xfffffffffffffffe)"`: MaskValue(1<<64 - 2),
	} {
		data, err := json.Marshal(v)
		if err != nil || string(data) != text {
			t.Errorf("%v is written %s, %v; want %s", v, data, err, text)
		}
		var back Value
		if err := json.Unmarshal(data, &back); err != nil || back == v || back.As(KeyLevel) != v || back.As(KeyRestart) != v || back.As(KeyMax) != back {
			t.Errorf("%s reads as %#v, %v", text, back, err)
		}
	}
	for text, want := range map[string]Value{
		"custom(0x1c000007)": LevelStateless.Value(), // its own mask
		"custom(0xC000003)":  MaskValue(0xc000003),
		"Full":               Text("Full"), "custom(0xg)": Text("custom(0xg)"), "custom(0x1": Text("custom(0x1"), "0x1)": Text("0x1)"),
	} {
		if got := Text(text).As(KeyLevel); got != want {
			t.Errorf("%s is %#v, want %#v", text, got, want)
		}
	}
}

// TestUseJSON: a use names its level, and no other word is one.
func TestUseJSON(t *testing.T) {
	data, err := json.Marshal(Use{Level: LevelStateful, Chain: "input", What: "ct", Count: 2})
	if want := `{"level":"stateful","chain":"input","what":"ct","count":2}`; err != nil || string(data) != want {
		t.Errorf("got %s, %v; want %s", data, err, want)
	}
	var u Use
	if err := json.Unmarshal(data, &u); err != nil || u.Level != LevelStateful {
		t.Errorf("it reads as %+v, %v", u, err)
	}
	if err := json.Unmarshal([]byte(`{"level":"Stateful"}`), &u); err == nil {
		t.Errorf("Stateful reads as %s", u.Level)
	}
}

func TestValueJSONRefuses(t *testing.T) {
	for _, data := range []string{`1.5`, `1e3`, `true`, `[]`, `{}`, `{"unknown":1}`, `99999999999999999999`} {
		var v Value
		if err := json.Unmarshal([]byte(data), &v); err == nil {
			t.Errorf("%s reads as %v", data, v)
		}
	}
}

func TestModuleParameters(t *testing.T) {
	for _, want := range []map[string]string{
		{"ports": "21,2121", "empty": ""},
		{"list": "a b  c=d", "quotes": `"x" 'y'\\`, "bytes": "\xff\x00\n ü"}, // as a kernel may show them
		nil,
	} {
		state, params, ok := Module(ModuleLoaded, want).Module()
		if !ok || state != ModuleLoaded || !maps.Equal(params, want) {
			t.Errorf("got %s %q %v, want %q", state, params, ok, want)
		}
	}
	if _, _, ok := Text("loaded").Module(); ok {
		t.Error("a text is no module")
	}
}

func TestLowers(t *testing.T) {
	for _, test := range []struct {
		from, to Value
		want     bool
	}{
		{Number(10), Number(9), true},
		{Number(10), Number(11), false},
		{Number(0), Number(11), true}, // 0 is unlimited
		{Number(10), Number(0), false},
		{Unknown("unreadable"), Number(11), true},
		{Unknown("unreadable"), Number(0), false},
		{Number(10), Number(10), false},
		{Number(10), Absent(), false},
	} {
		if got := Lowers(test.from, test.to); got != test.want {
			t.Errorf("%v to %v: %v", test.from, test.to, got)
		}
	}
}
