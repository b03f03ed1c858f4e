//go:build packages

package packaging_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// step is one thing that a document says to do: to run a command, or to write a file.
type step struct {
	line    int    // in the document
	command string // or empty
	output  string // what the document shows below the command

	file, text string // of a file to write

	hidden bool // in a comment: what the scene needs and no reader does
}

// Two kinds of blocks are steps. One of the language console has commands, each behind the prompt
// with which the block begins, and below each what it prints. One of the language yaml is a file if
// its first line is a comment with the path. A comment "<!-- scene" has commands that make what
// the text supposes: a damaged file, a full disk.
var blocks = regexp.MustCompile("(?s)(?:^|\n)(?:```(console|yaml)\n(.*?)\n```|<!-- (scene)\n(.*?)\n-->)")

// fileName is the first line of a file.
var fileName = regexp.MustCompile(`^# (/\S+|\S+/\S+)\n`)

// steps returns the steps of a document.
func steps(t *testing.T, document string) []step {
	t.Helper()
	data, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	var all []step
	for _, m := range blocks.FindAllStringSubmatchIndex(text, -1) {
		group := func(i int) string {
			if m[2*i] < 0 {
				return ""
			}
			return text[m[2*i]:m[2*i+1]]
		}
		line := strings.Count(text[:m[0]], "\n") + 2 // of the fence
		switch {
		case group(1) == "console":
			all = append(all, consoleSteps(t, document, line+1, group(2))...)
		case group(3) == "scene":
			all = append(all, step{line: line, command: group(4), output: elided, hidden: true})
		case fileName.MatchString(group(2)):
			all = append(all, step{line: line, file: fileName.FindStringSubmatch(group(2))[1], text: group(2) + "\n"})
		}
	}
	return all
}

// heredoc is what begins a text of several lines in a command.
var heredoc = regexp.MustCompile(`<<-?'?(\w+)'?`)

// consoleSteps returns the commands of a block that begins at a line of the document.
func consoleSteps(t *testing.T, document string, first int, block string) []step {
	t.Helper()
	lines := strings.Split(block, "\n")
	prompt := lines[0][:min(2, len(lines[0]))]
	if prompt != "$ " && prompt != "# " {
		t.Fatalf("%s:%d: the block does not begin with a prompt", document, first)
	}
	var all []step
	for i := 0; i < len(lines); i++ {
		command, isCommand := strings.CutPrefix(lines[i], prompt)
		if !isCommand {
			last := &all[len(all)-1]
			last.output += lines[i] + "\n"
			continue
		}
		s := step{line: first + i, command: command}
		for strings.HasSuffix(s.command, "\\") && i+1 < len(lines) {
			i++
			s.command += "\n" + lines[i]
		}
		if end := heredoc.FindStringSubmatch(s.command); end != nil {
			for i++; i < len(lines) && lines[i] != end[1]; i++ {
				s.command += "\n" + lines[i]
			}
			s.command += "\n" + end[1]
		}
		all = append(all, s)
	}
	return all
}

// elided is a line that stands for any number of lines.
const elided = "…"

// varying are the parts of an output that differ from run to run and from machine to machine.
var varying = []struct {
	part *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`\d{8}-\d{8}T\d{6}Z`), "RUN"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d( UTC|Z)`), "TIME"},
	{regexp.MustCompile(`\b[0-9a-f]{40}\b`), "COMMIT"},
	{regexp.MustCompile(`\b[0-9a-f]{12}\b`), "COMMIT"},
	{regexp.MustCompile(`(\[\S+ )[0-9a-f]{7,9}\]`), "${1}COMMIT]"},
	{regexp.MustCompile(`\b[0-9a-f]{7,9}\.\.[0-9a-f]{7,9}\b`), "COMMITS"},
	{regexp.MustCompile(`\bprocess \d+`), "process N"},
	{regexp.MustCompile(`\(\d+(\.\d+)?m?s\)`), "(DURATION)"},
	{regexp.MustCompile(`\d+ in sync`), "N in sync"},
	{regexp.MustCompile(`\d+ keys as`), "N keys as"},
	{regexp.MustCompile(`\bgo1\.\d+(\.\d+)?\b`), "GO"},
}

// words returns the words of an output without what varies. Lines are broken where the words need
// it, so they are not compared.
func words(output string) []string {
	lines := strings.Split(output, "\n")
	for i, line := range lines {
		if line == elided {
			lines[i] = "\x00"
		}
	}
	joined := strings.Join(strings.Fields(strings.Join(lines, " ")), " ")
	for _, v := range varying {
		joined = v.part.ReplaceAllString(joined, v.name)
	}
	return strings.Fields(joined)
}

// mismatch returns where the output is not what the document shows; empty if it is.
func mismatch(shown, output string) string {
	got := words(output)
	parts := [][]string{nil}
	for _, w := range words(shown) {
		if w == "\x00" {
			parts = append(parts, nil)
		} else {
			parts[len(parts)-1] = append(parts[len(parts)-1], w)
		}
	}
	for i, part := range parts {
		at := indexOf(got, part)
		if i == len(parts)-1 && i > 0 && len(part) > 0 { // the end of the output
			at = len(got) - len(part)
			if at < 0 || !slices.Equal(got[at:], part) {
				at = -1
			}
		}
		if at < 0 || i == 0 && at > 0 {
			return fmt.Sprintf("it does not print, at that place, %q", strings.Join(part, " "))
		}
		got = got[at+len(part):]
	}
	if len(got) > 0 && len(parts[len(parts)-1]) > 0 || len(got) > 0 && len(parts) == 1 {
		return fmt.Sprintf("it prints more than is shown: %q", strings.Join(got, " "))
	}
	return ""
}

// indexOf returns where a list of words is in another one, or -1.
func indexOf(in, part []string) int {
	for i := 0; i+len(part) <= len(in); i++ {
		if slices.Equal(in[i:i+len(part)], part) {
			return i
		}
	}
	return -1
}

// TestMismatch: what may differ and what may not.
func TestMismatch(t *testing.T) {
	for _, test := range []struct {
		name, shown, output string
		equal               bool
	}{
		{"equal", "one two\n", "one two\n", true},
		{"broken elsewhere", "one two\nthree\n", "one\ntwo three\n", true},
		{"another word", "one two\n", "one 2\n", false},
		{"more", "one\n", "one two\n", false},
		{"less", "one two\n", "one\n", false},
		{"something where nothing is shown", "", "error\n", false},
		{"left out in the middle", "one\n…\nthree\n", "one\ntwo\n2\nthree\n", true},
		{"left out at the end", "one\n…\n", "one two three\n", true},
		{"left out at the start", "…\nthree\n", "one two three\n", true},
		{"more after the end", "one\n…\nthree\n", "one two three four\n", false},
		{"the end is there twice", "one\n…\nthree\n", "one three two three\n", true},
		{"all left out", "…\n", "one\n", true},
		{"an ellipsis in a line is a word", "… level\n", "one level\n", false},
		{"not the start", "two\n…\n", "one two\n", false},
		{"a time", "at 2026-12-01 15:30:49 UTC\n", "at 2027-01-02 00:00:00 UTC\n", true},
		{"a commit", "commit 9b3839847553a361256ce6c66e11c61390ceb212\n", "commit a411b8ae583e764ccf5f797a618ed34ded18fe88\n", true},
		{"a duration", "14 in sync (236ms)\n", "15 in sync (1.2s)\n", true},
		{"a number", "2 changes\n", "3 changes\n", false},
	} {
		if got := mismatch(test.shown, test.output); (got == "") != test.equal {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}

// TestConsoleSteps: commands and outputs of a block.
func TestConsoleSteps(t *testing.T) {
	got := consoleSteps(t, "doc", 10, "$ one \\\n  --flag\nout\n# more\n$ cat <<'EOF'\n$ text\nEOF\n$ two\n")
	want := []step{
		{line: 10, command: "one \\\n  --flag", output: "out\n# more\n"},
		{line: 14, command: "cat <<'EOF'\n$ text\nEOF"},
		{line: 17, command: "two", output: "\n"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}
