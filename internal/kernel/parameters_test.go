package kernel

import (
	"path/filepath"
	"strings"
	"testing"
)

// What the kernel refuses: parse_args and the param_set functions of kernel/params.c,
// kstrtobool and _kstrtoull of lib/. The first of several reasons is given.
func TestRefusal(t *testing.T) {
	dir := t.TempDir()
	types := "parmtype=n:ushort\x00parmtype=s:int\x00parmtype=b:bool\x00parmtype=i:invbool\x00parmtype=c:charp\x00parmtype=a:array of uint\x00parmtype=l:ullong\x00parmtype=a-b:byte\x00"
	writeFile(t, filepath.Join(dir, "m.ko"), moduleELF(t, types, "__param_own"))
	tree := tree{dir: dir, files: map[string]moduleFile{"m": {path: "m.ko"}}}
	for text, want := range map[string]string{
		"": "", "n=5 s=-5 b i=y c= a=1,2 l=0xffffffffffffffff own=x": "",
		"n = 5": "n without a value", "n= 5": "n=,", "n =5": "n without a value", "unknown = 5": "", "s": "s without a value", "own": "own without a value",
		"i": "i without a value", "n=65536": "n=65536,", "n=-1": "n=-1,", "n=+1": "", "n=010": "", "n=08": "n=08,", "n=0b1": "n=0b1,", "n=1_0": "n=1_0,",
		"s=2147483648": "s=2147483648,", "b=2": "b=2,", "b=maybe": "b=maybe,", "b=off": "", "b=o": "b=o,", "a=1,x": "a=1,x,", "a=1,,2": "a=1,,2,", "l=x": "l=x,",
		`n="5"`: "", `"n=5"`: "", `c="a b" n`: "n without", "-- n": "", "a_b=256": "a_b=256,", "n=5 n": "n without",
	} {
		got := tree.refusal("m", text)
		if (got == "") != (want == "") || !strings.HasPrefix(strings.TrimPrefix(got, "the kernel refuses "), want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := tree.refusal("gone", "n ="); got != "" {
		t.Errorf("of a module without a file: %q", got)
	}
}
