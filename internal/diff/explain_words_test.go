package diff

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// TestWarningsAreExplained: each code of package nf has one row, and each row all its texts.
func TestWarningsAreExplained(t *testing.T) {
	source, err := os.ReadFile("../nf/code.go")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, m := range regexp.MustCompile(`Warn\w+ += "([a-z-]+)"`).FindAllSubmatch(source, -1) {
		want = append(want, string(m[1]))
	}
	for _, w := range Warnings() {
		got = append(got, w.Code)
		if e, ok := ExplainWarning(w.Code); !ok || e.Meaning == "" || e.Cause == "" || e.Remedy == "" {
			t.Errorf("%s is not explained: %+v", w.Code, e)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) == 0 || !slices.Equal(want, got) {
		t.Errorf("the warnings %v are explained, not %v", got, want)
	}
}

func TestLevelsAreExplained(t *testing.T) {
	for _, name := range nf.LevelNames() {
		if e, ok := ExplainLevel(name); !ok || e.Meaning == "" || e.Cause == "" || e.Remedy == "" {
			t.Errorf("%s is not explained: %+v", name, e)
		}
	}
	if len(Levels()) != len(nf.LevelNames()) {
		t.Errorf("%d levels are explained", len(Levels()))
	}
}
