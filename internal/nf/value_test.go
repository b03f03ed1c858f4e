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
		{Text("stateful"), `"stateful"`, "stateful"},
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
