//go:build vm

package vm_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// only selects the cases whose names it matches.
var only = flag.String("cases", "", "run only the cases whose names match this `regexp`")

// vmCase is one file of testdata/cases.
type vmCase struct {
	name    string
	own     bool
	boots   int
	append  string
	systemd bool
	pid1    bool
}

// readCases reads all cases, in the order of their names.
func readCases(t *testing.T) []vmCase {
	t.Helper()
	files, err := filepath.Glob("testdata/cases/*.sh")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no cases: %v", err)
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	var cases []vmCase
	for _, file := range files {
		if !wanted.MatchString(filepath.Base(file)) {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseCase(strings.TrimSuffix(filepath.Base(file), ".sh"), string(data))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		cases = append(cases, c)
	}
	return cases
}

func parseCase(name, text string) (vmCase, error) {
	c := vmCase{name: name, boots: 1}
	for line := range strings.Lines(text) {
		need, ok := strings.CutPrefix(line, "# vm: ")
		if !ok {
			continue
		}
		word, value, _ := strings.Cut(strings.TrimSpace(need), "=")
		switch word {
		case "boot":
			c.own = true
		case "boots":
			n, err := strconv.Atoi(value)
			if err != nil {
				return c, err
			}
			c.own, c.boots = true, n
		case "systemd":
			c.own, c.systemd = true, true
		case "pid1":
			c.own, c.pid1 = true, true
		case "append":
			c.own, c.append = true, c.append+" "+value
		default:
			return c, fmt.Errorf("unknown need %q", word)
		}
	}
	return c, nil
}

// The tables of docs/kernel.md name every case, and nothing that is no case.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/kernel.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, match := range regexp.MustCompile("`([0-9]{2}-[a-z-]+)`").FindAllSubmatch(text, -1) {
		named[string(match[1])] = true
	}
	files, err := filepath.Glob("testdata/cases/*.sh")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no cases: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".sh")
		if !named[name] {
			t.Errorf("no row names %s", name)
		}
		delete(named, name)
	}
	for name := range named {
		t.Errorf("a row names %s, which is no case", name)
	}
}
