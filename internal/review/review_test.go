package review

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

var now = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// snapshot is that of a node with that udp timeout, taken so long ago.
func snapshot(t *testing.T, node string, age time.Duration, udp int64) string {
	t.Helper()
	m := hosttest.New()
	m.Put(nf.Node, nf.TimeoutKey("udp"), udp)
	listed, err := m.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Observe(t.Context(), listed, nf.Ask{All: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Node.Name, s.TakenAt = node, now.Add(-age)
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const policy = "apiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\nmetadata: {name: node}\nspec: {conntrack: {timeouts: {udp: 90}}}\n"

func question(t *testing.T) Question {
	t.Helper()
	policies, found := spec.Parse([]spec.File{{Name: "p.yaml", Data: []byte(policy)}})
	if len(found) > 0 {
		t.Fatal(found)
	}
	return Question{Wants: policies.Resolve, Now: now, MaxAge: 24 * time.Hour}
}

// fleet plans for files by their texts; one without a text cannot be read.
func fleet(t *testing.T, q Question, texts map[string]string) (nf.FleetPlan, []string) {
	t.Helper()
	var names []string
	for name := range texts {
		names = append(names, name)
	}
	f, unused, err := Fleet(t.Context(), Source{Files: names, Read: func(name string) (spec.File, error) {
		if texts[name] == "" {
			return spec.File{}, errors.New("it is locked")
		}
		return spec.File{Name: name, Data: []byte(texts[name])}, nil
	}}, q)
	if err != nil {
		t.Fatal(err)
	}
	return f, unused
}

func lines(f nf.FleetPlan) string {
	var all []string
	for _, n := range f.Nodes {
		changes := "-"
		if n.Plan != nil {
			changes = fmt.Sprint(n.Plan.Summary.Changes)
		}
		all = append(all, strings.Join([]string{n.Node, string(n.State), changes, n.Error}, "|"))
	}
	return strings.Join(all, "\n")
}

// TestFleet: the nodes are in natural order, whatever happens to some of them.
func TestFleet(t *testing.T) {
	q := question(t)
	q.Expect = []string{"hn-1", "hn-3", "hn-4", "hn-3"}
	f, unused := fleet(t, q, map[string]string{
		"a": snapshot(t, "hn-10", time.Hour, 30) + snapshot(t, "hn-2", time.Hour, 90),
		"b": snapshot(t, "hn-1", 72*time.Hour, 30),
		"c": `{"kind":`,
		"d": "",
		"e": snapshot(t, "hn-2", 2*time.Hour, 30),
	})
	got := lines(f)
	for _, want := range []string{
		"c|unreadable|-|the snapshot is not valid: c:1:", "d|unreadable|-|it is locked",
		"hn-1|stale|1|its snapshot was taken 3 days ago, and may be 24 hours old\nhn-2|fresh|0|\nhn-3|missing|-|it has no snapshot\nhn-4|missing|-|it has no snapshot\nhn-10|fresh|1|",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwithout\n%s", got, want)
		}
	}
	if fmt.Sprint(unused) != "[e]" || f.Summary.Nodes != 7 || f.Summary.Failed != 5 || f.Summary.Changed != 2 {
		t.Errorf("unused %v, %+v", unused, f.Summary)
	}
}

// TestStale: an old snapshot is planned for all the same.
func TestStale(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Question)
		want   string
	}{
		"too old":       {func(*Question) {}, "hn-1|stale|1|its snapshot was taken 25 hours ago, and may be 24 hours old"},
		"allowed":       {func(q *Question) { q.AllowStale = true }, "hn-1|stale|1|"},
		"longer":        {func(q *Question) { q.MaxAge = 25 * time.Hour }, "hn-1|fresh|1|"},
		"any age":       {func(q *Question) { q.MaxAge = 0 }, "hn-1|fresh|1|"},
		"in the future": {func(q *Question) { q.Now = now.Add(-1000 * time.Hour) }, "hn-1|fresh|1|"},
	} {
		q := question(t)
		test.change(&q)
		f, _ := fleet(t, q, map[string]string{"a": snapshot(t, "hn-1", 25*time.Hour, 30)})
		if got := lines(f); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Fleet(ctx, Source{Files: []string{"a"}}, question(t)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"hn-2.yaml", "hn-10.json", "x.txt", ".hidden.yaml", "s/hn-1.yml", "s/.git/config.yaml", "empty/x.txt"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for in, want := range map[string]string{
		"hn-2.yaml":            "[hn-2.yaml] false",
		"nowhere.yaml":         "[nowhere.yaml] false",
		"x.txt":                "[x.txt] false",
		"hn-2.yaml hn-2.yaml":  "[hn-2.yaml] false",
		"hn-10.json hn-2.yaml": "[hn-2.yaml hn-10.json] true",
		"*.yaml":               "[.hidden.yaml hn-2.yaml] true",
		".":                    "[hn-2.yaml hn-10.json s/hn-1.yml] true",
		"s":                    "[s/hn-1.yml] true",
		"no*":                  "no file matches no*",
		"empty":                "there is no snapshot below empty",
	} {
		files, many, err := Files(strings.Fields(in))
		got := fmt.Sprint(files, many)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	if got := strings.Join(Names("hn-1\n\n  hn-2  # old\r\n# all\nhn-3"), "|"); got != "hn-1|hn-2|hn-3" {
		t.Error(got)
	}
}
