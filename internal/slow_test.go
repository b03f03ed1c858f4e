package internal_test

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSlowTestsAreRun: make test leaves the tests of SLOW out by their names, in every package. make test-slow
// must run all of these, so it has to name each package that has one.
func TestSlowTestsAreRun(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	names, packages := makeList(t, makefile, "SLOW"), makeList(t, makefile, "SLOW_PACKAGES")
	has := packagesByTest(t)
	used := map[string]bool{}
	for _, name := range names {
		if len(has[name]) == 0 {
			t.Errorf("SLOW names %s, which no package has", name)
		}
		for _, dir := range has[name] {
			used["./"+dir] = true
		}
	}
	if want := slices.Sorted(maps.Keys(used)); !slices.Equal(packages, want) {
		t.Errorf("SLOW_PACKAGES is %s, want %s: what is missing no step of .ci/run runs", packages, want)
	}
}

// makeList returns the words of a variable of a makefile.
func makeList(t *testing.T, makefile []byte, name string) []string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + ` *=((?:.*\\\n)*.*)$`).FindSubmatch(makefile)
	if m == nil {
		t.Fatalf("the Makefile has no %s", name)
	}
	words := strings.Fields(strings.ReplaceAll(string(m[1]), "\\\n", " "))
	if len(words) == 0 || !slices.IsSorted(words) {
		t.Fatalf("%s is empty or not sorted: %s", name, words)
	}
	return words
}

// packagesByTest returns the directories of the packages that have a test or a script, by the name of the test.
func packagesByTest(t *testing.T) map[string][]string {
	t.Helper()
	test := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	has := map[string][]string{}
	for _, f := range sources(t) {
		if !f.test {
			continue
		}
		text, err := os.ReadFile(path.Join("..", f.path))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range test.FindAllSubmatch(text, -1) {
			has[string(m[1])] = append(has[string(m[1])], f.room)
		}
	}
	scripts, err := filepath.Glob("../cmd/*/testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range scripts {
		dir, name, _ := strings.Cut(strings.TrimSuffix(file, ".txtar"), "/testdata/script/")
		has["TestScripts/"+name] = append(has["TestScripts/"+name], strings.TrimPrefix(dir, "../"))
	}
	return has
}
