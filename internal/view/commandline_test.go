package view

import "testing"

func TestCommandLine(t *testing.T) {
	if got, want := CommandLine("nfsync", "apply", "my policies", "it's"), `nfsync apply 'my policies' 'it'\''s'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
