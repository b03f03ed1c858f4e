package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/manual"
)

// TestManualPages: each verb that the help lists has a page with its flags, the configuration has one with its fields, and
// what formats manual pages does not complain about any of them.
func TestManualPages(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	dir := t.TempDir()
	if code := run(t.Context(), app{args: []string{"man", dir}, stdout: io.Discard, stderr: io.Discard}); code != exitOK {
		t.Fatalf("man ends with %d", code)
	}
	page := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), `"2023-11-14"`) {
			t.Errorf("%s is of another date: %.200s", name, text)
		}
		return string(text)
	}
	verbs := 0
	var walk func(*cobra.Command)
	walk = func(verb *cobra.Command) {
		text := page("man8/" + manual.PageName(verb) + ".8")
		for line := range strings.Lines(verb.LocalFlags().FlagUsages()) {
			_, name, _ := strings.Cut(line, "--")
			name, _, _ = strings.Cut(name, " ")
			if !strings.Contains(text, `\-\-`+strings.ReplaceAll(name, "-", `\-`)+`\fR`) {
				t.Errorf("%s does not have --%s", manual.PageName(verb), name)
			}
		}
		for _, sub := range manual.Documented(verb) {
			verbs++
			walk(sub)
		}
	}
	walk((&app{}).command())
	if verbs < 6 {
		t.Errorf("there are pages of %d verbs", verbs)
	}
	configuration := page("man5/nfsync-coordinator.yaml.5")
	for _, field := range []string{"channel", "source.branch", "verify.mode", "listen", "engine.listen", "engine.tls.certFile", "engine.servers", "directory"} {
		if !strings.Contains(configuration, `\fB`+field+`\fR`) {
			t.Errorf("the page of the configuration does not have %s", field)
		}
	}
	pages, err := filepath.Glob(filepath.Join(dir, "man[58]", "*.[58]"))
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{{"mandoc", "-T", "lint", "-W", "warning"}, {"groff", "-ww", "-mandoc", "-Tutf8", "-z"}} {
		if out, err := exec.CommandContext(t.Context(), words[0], append(words[1:], pages...)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", words[0], err, out)
		}
	}
}

// TestManualPagesFail: a date that is none is said, and no page is written.
func TestManualPagesFail(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "soon")
	dir := t.TempDir()
	var stderr bytes.Buffer
	if code := run(t.Context(), app{args: []string{"man", dir}, stdout: io.Discard, stderr: &stderr}); code != exitError || !strings.Contains(stderr.String(), "SOURCE_DATE_EPOCH") {
		t.Errorf("exit code %d, %s", code, &stderr)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("it has written %v, %v", files, err)
	}
}
