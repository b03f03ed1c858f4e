package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/manual"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/schemas"
)

// manPages writes the manual pages to a directory, and returns it.
func manPages(t *testing.T, env map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	root := testApp(env).command()
	root.SetArgs([]string{manVerb, dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestManualPages: what formats manual pages does not complain about any of them.
func TestManualPages(t *testing.T) {
	dir := manPages(t, map[string]string{"SOURCE_DATE_EPOCH": "1700000000"})
	pages, err := filepath.Glob(filepath.Join(dir, "man[157]", "*.[157]"))
	if err != nil || len(pages) < 30 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, words := range [][]string{{"mandoc", "-T", "lint", "-W", "warning"}, {"groff", "-ww", "-mandoc", "-Tutf8", "-z"}} {
		if out, err := exec.Command(words[0], append(words[1:], pages...)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", words[0], err, out)
		}
	}
	for _, name := range pages {
		if text := readPage(t, name); !strings.Contains(text, `"2023-11-14"`) {
			t.Errorf("%s is of another date: %.200s", name, text)
		}
	}
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestManualIsComplete: each verb that the help lists has a page with its flags and its formats, and each
// field of a document that people write is on the page of its file.
func TestManualIsComplete(t *testing.T) {
	dir := manPages(t, nil)
	var walk func(*cobra.Command)
	walk = func(verb *cobra.Command) {
		text := readPage(t, filepath.Join(dir, "man1", manual.PageName(verb)+".1"))
		for _, sub := range verb.Commands() {
			if !sub.Hidden {
				walk(sub)
			}
		}
		if verb.Example != "" && !strings.Contains(text, "\n.SH \"EXAMPLES\"\n") {
			t.Errorf("%s has no examples", manual.PageName(verb))
		}
		verb.InitDefaultHelpFlag()
		verb.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(text, `\-\-`+strings.ReplaceAll(f.Name, "-", `\-`)+`\fR`) {
				t.Errorf("%s does not have --%s", manual.PageName(verb), f.Name)
			}
		})
		if list := strings.Fields(verb.Annotations[formatsKey]); len(list) > 0 && !strings.Contains(text, strings.Join(list, ", ")) {
			t.Errorf("%s does not have the formats %v", manual.PageName(verb), list)
		}
	}
	walk(testApp(nil).command())
	for name, kinds := range map[string][]string{policiesName: {nf.KindNodePolicy, nf.KindContainerPolicy, nf.KindPolicyTest, nf.KindRollout}, configName: {nf.KindAgentConfig}} {
		text := readPage(t, filepath.Join(dir, "man5", name+".5"))
		for _, kind := range kinds {
			for _, field := range propertyNames(t, kind) {
				if !strings.Contains(text, field+`\fR`) {
					t.Errorf("%s does not have %s of %s", name, field, kind)
				}
			}
		}
	}
	words := readPage(t, filepath.Join(dir, "man7", wordsName+".7"))
	for _, word := range []string{`level\-in\-use`, "FailedBefore", "rolled back", "7"} {
		if !strings.Contains(words, `\fB`+word+`\fR`) {
			t.Errorf("%s is not on the page of words", word)
		}
	}
}

// propertyNames lists the names of all properties in a schema.
func propertyNames(t *testing.T, kind string) []string {
	t.Helper()
	text, _ := schemas.Get(kind)
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var names []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for key, x := range v {
				if properties, ok := x.(map[string]any); ok && key == "properties" && v["type"] == "object" {
					for name := range properties {
						names = append(names, name)
					}
				}
				walk(x)
			}
		}
	}
	walk(doc)
	slices.Sort(names)
	return slices.Compact(names)
}

// TestManualIsReproducible: the same build writes the same bytes, wherever and whenever it runs.
func TestManualIsReproducible(t *testing.T) {
	one := manPages(t, nil)
	t.Setenv("TZ", "Pacific/Auckland")
	t.Setenv("LANG", "de_DE.UTF-8")
	other := manPages(t, map[string]string{"STATE_DIRECTORY": "/somewhere", "RUNTIME_DIRECTORY": "/else"})
	if out, err := exec.Command("diff", "-r", one, other).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	root := testApp(map[string]string{"SOURCE_DATE_EPOCH": "soon"}).command()
	root.SetArgs([]string{manVerb, t.TempDir()})
	if err := root.Execute(); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH") {
		t.Errorf("got %v", err)
	}
}
