package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/vz/vztest"
)

// TestMain also is the program, for TestSmallest.
func TestMain(m *testing.M) {
	vztest.Main()
	if len(os.Args) > 1 && (os.Args[1] == "-smoke" || os.Args[1] == partVerb) {
		main()
	}
	os.Exit(m.Run())
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0},
		{[]float64{7}, 7},
		{[]float64{9, 1}, 5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 100, 2}, 3},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}

func TestTexts(t *testing.T) {
	for got, want := range map[string]string{
		number(0):                          "0",
		number(0.00605):                    "0.00605",
		number(0.5):                        "0.5",
		number(1):                          "1",
		number(12.34):                      "12.3",
		number(123.4):                      "123",
		number(1234.5):                     "1,235",
		number(quotient(1, 0)):             "0",
		thousands(1):                       "1",
		thousands(999):                     "999",
		thousands(1000):                    "1,000",
		thousands(1234567):                 "1,234,567",
		duration(920 * time.Nanosecond):    "0.92 µs",
		duration(83 * time.Millisecond):    "83 ms",
		duration(999 * time.Microsecond):   "999 µs",
		duration(14547 * time.Millisecond): "14.5 s",
		bytes(12.5 * mib):                  "12.5 MiB",
		count(1, "key", "keys"):            "1 key",
		count(1000, "key", "keys"):         "1,000 keys",
		cell("a|b"):                        `a\|b`,
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestTimeoutName(t *testing.T) {
	// Names of net/netfilter/nf_conntrack_standalone.c.
	for file, want := range map[string]string{
		"nf_conntrack_generic_timeout":         "generic",
		"nf_conntrack_udp_timeout_stream":      "udpStream",
		"nf_conntrack_tcp_timeout_syn_sent":    "tcpSynSent",
		"nf_conntrack_tcp_timeout_established": "tcpEstablished",
	} {
		if got := timeoutName(file); got != want {
			t.Errorf("timeoutName(%s) = %s, want %s", file, got, want)
		}
	}
}

// took returns a row with samples of these times, in milliseconds.
func took(what string, walls ...int) *row {
	r := &row{what: what, scene: "a scene"}
	for _, ms := range walls {
		wall := time.Duration(ms) * time.Millisecond
		r.samples = append(r.samples, sample{wall: wall, cpu: wall / 2, peak: int64(ms) * mib, atMost: ms < 10})
	}
	return r
}

func TestTargets(t *testing.T) {
	nfsync, slow, missing := took("nfsync", 10, 30, 20), took("a loop", 3000), took("nothing")
	nfsync.aimFaster(slow, 150)
	nfsync.aimFaster(slow, 151)
	nfsync.aimFaster(missing, 1)
	nfsync.aimWithin(took("a floor", 10), 2, "the floor")
	nfsync.aimWithin(took("a floor", 9), 2, "the floor")
	nfsync.aimUnder(20 * time.Millisecond)
	nfsync.aimCPU(9 * time.Millisecond)
	nfsync.aimMemory(29)
	missing.aimUnder(time.Second)
	if len(missing.targets) > 0 {
		t.Errorf("%d targets of what was not measured", len(missing.targets))
	}
	want := []string{
		"at least 150 times as fast as a loop: 150, met",
		"at least 151 times as fast as a loop: 150, **missed**",
		"at most 2 times as long as the floor: 2, met",
		"at most 2 times as long as the floor: 2.22, **missed**",
		"at most 20 ms: 20 ms, met",
		"at most 9 ms of CPU: 10 ms, **missed**",
		"at most 29 MiB of memory: 30 MiB, **missed**",
	}
	if got := each(nfsync.targets, target.cell); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b := &bench{tables: []*table{{rows: []*row{nfsync}}}}
	page := b.targetsTable()
	for _, part := range []string{
		"| nfsync | a scene | at least 150 times as fast as a loop | 150 | met |\n",
		"\nMissed:\n\n- nfsync, a scene: at least 151 times as fast as a loop is wanted, 150 was measured.\n",
	} {
		if !strings.Contains(page, part) {
			t.Errorf("no %q in\n%s", part, page)
		}
	}
	nfsync.targets = nfsync.targets[:1]
	if page := b.targetsTable(); !strings.HasSuffix(page, "\nAll are met.\n") {
		t.Errorf("what is missed of\n%s", page)
	}
}

// The runners take turns, and what is slow runs less often. What is done before and after a run is
// part of its turn.
func TestMeasure(t *testing.T) {
	b := &bench{ctx: t.Context(), log: io.Discard}
	var order strings.Builder
	doing := func(what string) func() error {
		return func() error { order.WriteString(what); return nil }
	}
	running := func(what string) func() (result, error) {
		return func() (result, error) {
			return result{whole: sample{wall: 2}, own: sample{wall: 1}}, doing(what)()
		}
	}
	fast, own, slow := &row{}, &row{}, &row{}
	err := b.measure(3, runner{row: fast, own: own, before: doing("("), run: running("fast"), after: doing(") ")},
		runner{row: slow, most: 1, run: running("slow ")})
	if want := "(fast) slow (fast) (fast) "; err != nil || order.String() != want {
		t.Errorf("%q, %v, want %q", order.String(), err, want)
	}
	if len(fast.samples) != 3 || len(own.samples) != 3 || len(slow.samples) != 1 || fast.wall() != 2 || own.wall() != 1 {
		t.Errorf("the samples are %v, %v and %v", fast.samples, own.samples, slow.samples)
	}
	wrong := runner{row: &row{what: "a loop"}, run: running("x"), after: func() error { return errors.New("a value is wrong") }}
	if err := b.measure(2, wrong); err == nil || !strings.Contains(err.Error(), "a loop") || !strings.HasSuffix(err.Error(), "a value is wrong") {
		t.Errorf("the error is %v", err)
	}
}

func TestTable(t *testing.T) {
	tab := &table{question: "How long?", about: "What is done."}
	nfsync := tab.add(*took("`nfsync`", 10, 30, 20))
	nfsync.base = nfsync
	tab.add(*took("a | b", 5)).base = nfsync
	tab.add(row{what: "not measured", base: nfsync})
	nfsync.aimUnder(time.Second)
	const want = `## How long?

What is done.

| what | scene | median | lowest to highest | runs | CPU | memory | × nfsync | target |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |
| ` + "`nfsync`" + ` | a scene | 20 ms | 10 ms to 30 ms | 3 | 10 ms | 30 MiB | 1 | at most 1 s: 20 ms, met |
| a \| b | a scene | 5 ms | 5 ms to 5 ms | 1 | 2.5 ms | ≤ 5 MiB | 0.25 |  |
`
	if got := tab.markdown(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// The program makes its smallest scenes, asks all questions and prints the page. It needs root.
func TestSmallest(t *testing.T) {
	nfsync := filepath.Join(t.TempDir(), "nfsync")
	if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", nfsync, "../cmd/nfsync").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	work := workDirectories(t)
	cmd := exec.Command(os.Args[0], "-smoke", "-nfsync", nfsync)
	var said strings.Builder
	cmd.Stderr = &said
	page, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	for _, part := range []string{
		"| `nfsync apply` | 3 namespaces, again | ", "| `ip netns exec` loop | 1 namespace, first | ",
		"| bare scan, without start | 3 namespaces, 4 keys, first | ", "| bare loop over open files | 3 namespaces, 4 keys | ",
		"| bare yaml.v3 | 3 files | ", "| `git clone` | 3 files | ", "| `sysctl --system` | 20 keys | ",
		"| planning alone | 6 containers, 4 keys | ", "| loop, `vzlist` once | 2 containers | ",
		"| woken, the last one | 5 nodes | ", "| read, as the coordinator does | 10 statuses | ", "| read, as `plan --nodes-from` does | 5 snapshots | ",
		"\n## The targets\n", "\n## The ten biggest costs\n",
	} {
		if !strings.Contains(string(page), part) {
			t.Errorf("no %q in\n%s", part, page)
		}
	}
	if left := workDirectories(t); !slices.Equal(left, work) {
		t.Errorf("there were the work directories %v, and now %v", work, left)
	}
}

// workDirectories returns those that exist.
func workDirectories(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("/var/tmp/" + workPrefix + "*")
	if err != nil {
		t.Fatal(err)
	}
	return found
}
