package words

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/view"
)

// enumerations say which topic explains the exported string constants of a room, by the name of
// their type or, where they have none, by their own. Those without a topic have the reason.
var enumerations = []struct {
	room, name string // an expression
	topic      view.Topic
	reason     string
}{
	{"nf", "Code", view.TopicRefusal, ""},
	{"nf", "Warn.*", view.TopicWarning, ""},
	{"nf", "Until", view.TopicEvent, ""},
	{"nf", "Key", view.TopicKey, ""},
	{"nf", "KeyState", view.TopicKeyState, ""},
	{"nf", "Cause", view.TopicCause, ""},
	{"nf", "Layer", view.TopicLayer, ""},
	{"nf", "ConditionType", view.TopicCondition, ""},
	{"nf", "LapResult", view.TopicLapResult, ""},
	{"nf", "SnapshotState", view.TopicSnapshot, ""},
	{"nf", "Restart", view.TopicRestart, ""},
	{"nf", "Keeper.*", view.TopicKeeper, ""},
	{"nf", "Runtime.*", view.TopicRuntime, ""},
	{"nf", "State.*", view.TopicState, ""},
	{"nf", "Tracking.*", view.TopicTracking, ""},
	{"nf", "Scope.*", view.TopicScope, ""},
	{"nf", "Support.*", view.TopicSupport, ""},
	{"nf", "Module(Loaded|Unloaded|Builtin)", view.TopicModuleState, ""},
	{"nf", "RolloutState", view.TopicRollout, ""},
	{"nf", "ProgressState", view.TopicProgress, ""},
	{"nf", "AskVerb", "", "the verbs of nfsync fleet, whose help describes them"},
	{"nf", "CredentialKind", "", "the flags of nfsync-coordinator enroll, whose help describes them"},
	{"nf", "DefaultChannel|DefaultGroup|StepCanaries", "", "names that people read in their own files"},
	{"nf", "Target(Node|Container)", "", "what they are called in any text"},
	{"nf", "Ability.*", "", "names in the capability denied, which explain them"},
	{"nf", "ConditionStatus|Yes|No|MaybeUnknown", "", "words of the language"},
	{"nf", "ExpectList", "", "keys of a PolicyTest, which its schema describes"},
	{"nf", "Kind.*|APIVersion", "", "kinds, whose schemas describe them"},
	{"nf", "Directive.*|Backend.*", "", "words of other programs"},
	{"nf", "Instance.*", "", "the state of the container, in place of an instance"},
	{"nf", "Restart(Begun|Made)|DefaultNodeBranch|NodePlaceholder|PatternCharacters", "", "no text shows them as words"},
	{"agent", "Reason", view.TopicReason, ""},
	{"agent", "Cause", view.TopicLapCause, ""},
	{"apply", "Outcome", view.TopicOutcome, ""},
	{"apply", "Verdict", view.TopicVerdict, ""},
	{"apply", "Event.*|LatestReceipt", "", "no text shows them as words"},
	{"spec", "Rule", view.TopicRule, ""},
}

// TestEveryConstantIsExplained holds each word that a room can print to the topic that explains it.
func TestEveryConstantIsExplained(t *testing.T) {
	explained := map[view.Topic]map[string]bool{}
	for _, topic := range Topics() {
		explained[topic.Topic] = map[string]bool{}
		for _, e := range topic.Words {
			explained[topic.Topic][e.Word] = true
		}
	}
	for _, room := range []string{"nf", "agent", "apply", "spec", "diff"} {
		for _, c := range constants(t, "../"+room) {
			i := slices.IndexFunc(enumerations, func(e struct {
				room, name string
				topic      view.Topic
				reason     string
			}) bool {
				return e.room == room && regexp.MustCompile("^("+e.name+")$").MatchString(cmp.Or(c.goType, c.name))
			})
			switch {
			case i < 0 && (room == "nf" || c.goType != ""):
				t.Errorf("%s.%s (%s) belongs to no topic: give it one, or a reason why it needs none", room, c.name, c.goType)
			case i < 0, enumerations[i].topic == "":
			case !explained[enumerations[i].topic][c.value]:
				t.Errorf("%q of %s.%s is not explained among %s", c.value, room, c.name, enumerations[i].topic.Title())
			}
		}
	}
}

type constant struct{ name, goType, value string }

// constants lists the exported string constants of a package.
func constants(t *testing.T, dir string) (list []constant) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(dir, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
				list = append(list, specConstants(g)...)
			}
		}
	}
	return list
}

func specConstants(g *ast.GenDecl) (list []constant) {
	for _, s := range g.Specs {
		v := s.(*ast.ValueSpec)
		goType, _ := v.Type.(*ast.Ident)
		for i, name := range v.Names {
			if i >= len(v.Values) || !name.IsExported() {
				continue
			}
			literal, ok := v.Values[i].(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				continue
			}
			value, _ := strconv.Unquote(literal.Value)
			c := constant{name: name.Name, value: value}
			if goType != nil && goType.Name != "string" {
				c.goType = goType.Name
			}
			list = append(list, c)
		}
	}
	return list
}

// TestTopics: each topic has words, each once, and each word a meaning.
func TestTopics(t *testing.T) {
	var listed []view.Topic
	for _, topic := range Topics() {
		listed = append(listed, topic.Topic)
		seen := map[string]bool{}
		for _, e := range topic.Words {
			if e.Word == "" || e.Meaning == "" || e.Topic != topic.Topic || seen[e.Word] {
				t.Errorf("%s: %+v", topic.Topic, e)
			}
			seen[e.Word] = true
		}
		if len(seen) == 0 {
			t.Errorf("%s has no words", topic.Topic)
		}
	}
	want := slices.DeleteFunc(view.Topics(), func(topic view.Topic) bool { return topic == view.TopicExitCode })
	if !slices.Equal(listed, want) {
		t.Errorf("the topics are %v, not %v", listed, want)
	}
}

func TestExplain(t *testing.T) {
	topics := Topics()
	for word, want := range map[string][]view.Topic{
		"level-in-use":                {view.TopicRefusal},
		"conflict":                    {view.TopicRefusal, view.TopicRule},
		"stuck":                       {view.TopicRefusal, view.TopicLapResult, view.TopicOutcome, view.TopicProgress},
		"paused":                      {view.TopicState, view.TopicRollout},
		"unaffected":                  {view.TopicProgress, view.TopicTerm},
		"roll-out document":           {view.TopicTerm},
		"silent":                      {view.TopicTerm},
		"canary":                      {view.TopicTerm},
		"level":                       {view.TopicKey, view.TopicTerm},
		"drift":                       {view.TopicLapCause, view.TopicCause, view.TopicTerm},
		"module/nf_conntrack":         {view.TopicKey},
		"module/NAME":                 {view.TopicKey},
		"conntrack.timeouts.udp":      {view.TopicKey},
		"conntrack.timeouts.soon":     nil,
		"rolled back":                 {view.TopicVerdict},
		"hook list":                   {view.TopicProbe},
		"denied.modules":              {view.TopicCapability},
		"unknown":                     {view.TopicTracking, view.TopicScope, view.TopicKeeper},
		"stale":                       {view.TopicSnapshot},
		"restart":                     {view.TopicKey, view.TopicCause, view.TopicFinding},
		"FailedBefore":                {view.TopicReason},
		"zebra":                       nil,
		"conntrack.sysctls.nf_no_key": nil,
	} {
		e, ok := Explain(topics, word)
		var got []view.Topic
		for _, s := range append([]view.Sense{e.Sense}, e.Also...) {
			if s.Meaning != "" {
				got = append(got, s.Topic)
			}
		}
		if !slices.Equal(got, want) || ok != (want != nil) {
			t.Errorf("%s is explained as %v, %v, not as %v", word, got, ok, want)
		}
	}
}

// TestTyped: what a shell offers can be explained, and has no NAME in it.
func TestTyped(t *testing.T) {
	topics := Topics()
	list := Typed(topics)
	if !slices.IsSortedFunc(list, func(a, b view.Explanation) int { return strings.Compare(a.Word, b.Word) }) {
		t.Error("not sorted")
	}
	words := map[string]bool{}
	for _, e := range list {
		if _, ok := Explain(topics, e.Word); !ok || words[e.Word] || strings.Contains(e.Word, anyName) {
			t.Errorf("%s is offered", e.Word)
		}
		words[e.Word] = true
	}
	for _, w := range []string{"conntrack.timeouts.udp", "conntrack.max", "in-use", "Ready"} {
		if !words[w] {
			t.Errorf("%s is not offered", w)
		}
	}
}

// plain returns a cell of a table of Markdown as text.
func plain(cell string) string {
	cell = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(cell, "$1")
	return strings.NewReplacer("`", "", "*", "").Replace(cell)
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestGlossary: ARCHITECTURE.md has the same words with the same meanings.
func TestGlossary(t *testing.T) {
	text := read(t, "../../ARCHITECTURE.md")
	_, text, _ = strings.Cut(text, "## Words")
	text, _, _ = strings.Cut(text, "\n## ")
	var want, got []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([\w -]*\w) \| (.*) \|$`).FindAllStringSubmatch(text, -1) {
		if m[1] != "word" {
			want = append(want, m[1]+": "+plain(m[2]))
		}
	}
	for _, e := range glossary() {
		got = append(got, e.Word+": "+e.Meaning)
	}
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("ARCHITECTURE.md has\n%s\nand glossary.go\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}

// TestProbes: docs/kernel.md has the probes of doctor, and the same words about them.
func TestProbes(t *testing.T) {
	text := read(t, "../../docs/kernel.md")
	_, text, _ = strings.Cut(text, "| probe |")
	rows := regexp.MustCompile(`(?m)^\| .* \| ([0-9.]+) \| (.*) \|$`).FindAllStringSubmatch(text, -1)
	list := probes()
	if len(rows) != len(list) {
		t.Fatalf("docs/kernel.md has %d probes, nfsync %d", len(rows), len(list))
	}
	for i, e := range list {
		if want := "since " + rows[i][1] + ". Where the kernel cannot, nfsync " + rows[i][2] + "."; !strings.HasSuffix(e.Meaning, want) {
			t.Errorf("%s: %s, and docs/kernel.md: %s", e.Word, e.Meaning, want)
		}
	}
}
