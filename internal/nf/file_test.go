package nf

import (
	"strings"
	"testing"
)

func TestIsPolicyFile(t *testing.T) {
	for name, want := range map[string]bool{"a.yaml": true, "p/a.yml": true, ".yaml": true, "a.YAML": true, "B.Yml": true, "a.yaml.txt": false, "a.json": false, "a.yaml~": false, "yaml": false, "a.yaml/b": false, "": false} {
		if IsPolicyFile(name) != want {
			t.Errorf("%q: want %v", name, want)
		}
	}
}

func TestIsCommitID(t *testing.T) {
	id := strings.Repeat("0123456789", 3) + "abcdef0123"
	for s, want := range map[string]bool{id: true, strings.ToUpper(id): false, id[:39]: false, id + "0": false, id + "\n": false, "": false, id[:39] + "g": false} {
		if IsCommitID(s) != want {
			t.Errorf("%q: want %v", s, want)
		}
	}
}
