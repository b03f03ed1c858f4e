package main

import (
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func testApp(env map[string]string) *app {
	return &app{system: system{stdout: io.Discard, stderr: io.Discard, stdin: strings.NewReader(""), getenv: func(k string) string { return env[k] }}}
}

// TestHelp holds every verb to a sentence, a long text and an example.
func TestHelp(t *testing.T) {
	root := testApp(nil).command()
	verbs := append([]*cobra.Command{root}, root.Commands()...)
	if len(verbs) != 31 {
		t.Errorf("%d verbs; has one been forgotten here?", len(verbs)-1)
	}
	for i := 1; i < len(verbs); i++ { // and the verbs of verbs
		if below := verbs[i]; below.Name() != "completion" {
			verbs = append(verbs, below.Commands()...)
		}
	}
	for _, c := range verbs {
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s has no short text or no example", c.CommandPath())
		}
		if strings.Contains(c.UsageString(), "(default )") {
			t.Errorf("%s: a flag has an empty default", c.CommandPath())
		}
		for _, line := range strings.Split(c.Long+"\n"+c.UsageString(), "\n") {
			if utf8.RuneCountInString(line) > 80 {
				t.Errorf("%s: a line of the help is longer than a terminal: %s", c.CommandPath(), line)
			}
		}
	}
}

// TestDirectories: a flag wins over what systemd says, which wins over the
// default. systemd separates several directories by colons.
func TestDirectories(t *testing.T) {
	for _, test := range []struct {
		name  string
		env   map[string]string
		args  []string
		state string
		run   string
	}{
		{"defaults", nil, nil, "/var/lib/nfsync", "/run/nfsync"},
		{"systemd", map[string]string{"STATE_DIRECTORY": "/s", "RUNTIME_DIRECTORY": "/r"}, nil, "/s", "/r"},
		{"systemd, several", map[string]string{"STATE_DIRECTORY": "/s:/t"}, nil, "/s", "/run/nfsync"},
		{"flags", map[string]string{"STATE_DIRECTORY": "/s"}, []string{"--state-dir", "/mine", "--run-dir", "/own"}, "/mine", "/own"},
	} {
		a := testApp(test.env)
		root := a.command()
		root.SetArgs(append(test.args, "version"))
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		if a.stateDir != test.state || a.runDir != test.run {
			t.Errorf("%s: %s and %s, want %s and %s", test.name, a.stateDir, a.runDir, test.state, test.run)
		}
	}
}
