package view

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// chromium opens a file in a browser without a window, and returns what the browser has made of it.
func chromium(t *testing.T, address string) string {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("there is no chromium: scripts/deps.sh installs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+t.TempDir(),
		"--virtual-time-budget=5000", "--dump-dom", address)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, errors.String())
	}
	return string(out)
}

// pageOf writes a document as HTML, and returns its address and its text.
func pageOf[T any](t *testing.T, kind Kind[T], doc T) (address, text string) {
	t.Helper()
	var b strings.Builder
	if err := kind.Write(&b, FormatHTML, doc, Options{}); err != nil {
		t.Fatal(err)
	}
	return saved(t, b.String()), b.String()
}

func saved(t *testing.T, page string) (address string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	return "file://" + file
}

// hostileNames are names that do harm where they are not escaped.
var hostileNames = []string{
	"</script><script>document.title='owned'</script>", "<img src=x onerror=document.title='owned'>", "\"><svg onload=document.title='owned'>",
	"::error::owned", "##[error]owned", "##vso[task.complete]", "a\n::error::owned", "\x1b[2J\x1b]0;owned\a", "\u202eowned\u2066", "owned\r\n", "]]>", "--><!-- owned", "`@owned` #1 | x", "${{ secrets.owned }}",
	"javascript:owned", "\xff\xfe\x00",
}

// hostilePlan has each hostile name wherever a name can be.
func hostilePlan() nf.Plan {
	p := emptyPlan()
	for _, name := range hostileNames {
		target := nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: name, Name: name}
		source := nf.Source{Name: name, File: name + ".yaml", Line: 3, Column: 4}
		p.Changes = append(p.Changes, nf.Change{Target: target, Key: nf.KeyMax, Layer: nf.LayerLive, From: nf.Unknown(name), To: nf.Number(7), Cause: nf.CauseNew, Source: source})
		p.Refusals = append(p.Refusals, nf.Refusal{Target: target, Key: nf.SysctlKey(name), Layer: nf.LayerLive, From: nf.Text(name), To: nf.Number(1), Code: nf.Missing,
			Reason: name, Remedy: name, Until: nf.UntilKernelChange, Source: source})
		p.Warnings = append(p.Warnings, nf.Warning{Code: nf.WarnNodeTracking, Target: target, Message: name, Source: &source})
	}
	p.Node, p.Revision = hostileNames[0], hostileNames[1]
	p.Summary = nf.Summary{Changes: len(p.Changes), Refusals: len(p.Refusals)}
	return p
}

// hostileValidation has errors in files with hostile names and lines.
func hostileValidation() Validation {
	var v Validation
	for _, name := range hostileNames {
		v.Diagnostics = append(v.Diagnostics, spec.Diagnostic{Rule: spec.RuleSyntax, File: name, Line: 1, Column: 1, Message: name, Hint: name, Text: name})
	}
	return v
}

// TestHTMLHostile: in a browser hostile names are text, and no script but that of the page runs.
func TestHTMLHostile(t *testing.T) {
	t.Parallel()
	address, _ := pageOf(t, Plans, hostilePlan())
	dom := chromium(t, address)
	for _, name := range hostileNames {
		if !strings.Contains(html.UnescapeString(dom), "netns/"+Clean(name)) {
			t.Errorf("the page does not show %q", name)
		}
	}
	if strings.Contains(dom, "<title>owned") || strings.Count(dom, "<script") != 1 || strings.Contains(dom, "<img") || strings.Contains(dom, "<svg") {
		t.Error("a name became an element")
	}
	// The page has run: the policy allows its own script, and its style.
	if !strings.Contains(dom, `id="search">`) {
		t.Error("the page's own script did not run")
	}
}

// TestHTMLPolicy: even a script that got into the page would not run.
func TestHTMLPolicy(t *testing.T) {
	t.Parallel()
	_, text := pageOf(t, Plans, richPlan())
	text = strings.Replace(text, "<main", "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><main", 1)
	if dom := chromium(t, saved(t, text)); strings.Contains(dom, "<title>owned") || !strings.Contains(dom, `id="search">`) {
		t.Error("the policy of the page does not hold")
	}
}

var foundCount = regexp.MustCompile(`<output[^>]*>([^<]*)</output>`)

// TestHTMLFilter: the page shows what its address asks for, also by a name that is folded.
func TestHTMLFilter(t *testing.T) {
	address, _ := pageOf(t, FleetPlans, richFleet())
	for query, want := range map[string]string{
		"":                  "",
		"#section-1":        "",
		"#q=hn-4":           "3 of 7 entries", // a restart; the tracking and the change of all nodes
		"#q=hn-4%20RESTART": "1 of 7 entries",
		"#q=web-0004":       "1 of 7 entries",
		"#q=below-count":    "1 of 7 entries",
		"#q=nothing%25":     "0 of 7 entries",
		"#q=%E0":            "0 of 7 entries",
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			if m := foundCount.FindStringSubmatch(chromium(t, address+query)); m == nil || m[1] != want {
				t.Errorf("%v, want %q", m, want)
			}
		})
	}
}

// TestHTMLSmall: on a narrow screen nothing is wider than the screen, however long a name is.
func TestHTMLSmall(t *testing.T) {
	long := richPlan()
	long.Changes[0].Target.Name = strings.Repeat("x", 300)
	long.Refusals[0].Reason = strings.Repeat("y", 300)
	long.Node = strings.Repeat("z", 300)
	for name, page := range map[string]string{"plan": second(pageOf(t, Plans, long)), "fleet": second(pageOf(t, FleetPlans, richFleet())), "files": second(pageOf(t, Validations, hostileValidation()))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkNarrow(t, page)
		})
	}
}

// checkNarrow shows a page in a frame as wide as a small screen.
func checkNarrow(t *testing.T, page string) {
	t.Helper()
	frame := fmt.Sprintf(`<iframe id="f" style="width:375px;height:700px;border:0" srcdoc="%s"></iframe><script>
			f.onload = () => { const e = f.contentDocument.documentElement; document.title = e.scrollWidth + " of " + e.clientWidth; };</script>`, html.EscapeString(page))
	if m := frameWidth.FindStringSubmatch(chromium(t, saved(t, frame))); m == nil || m[1] != m[2] || m[1] == "0" {
		t.Errorf("%v pixels are scrolled", m)
	}
}

var frameWidth = regexp.MustCompile(`<title>(\d+) of (\d+)</title>`)

func second(_, text string) string { return text }

// TestHTMLLarge: a page of a thousand nodes is soon there.
func TestHTMLLarge(t *testing.T) {
	t.Parallel()
	f := nf.FleetPlan{APIVersion: nf.APIVersion, Kind: nf.KindFleetPlan}
	for i := range 1000 {
		p := manyPlan(3)
		p.Node = fmt.Sprintf("hn-%d", i)
		p.Changes[0].Target = foldedTarget(i)
		f.Nodes = append(f.Nodes, nf.NodePlan{NodeSnapshot: nf.NodeSnapshot{Node: p.Node, State: nf.SnapshotFresh}, Plan: &p})
	}
	f.Summarize()
	address, text := pageOf(t, FleetPlans, f)
	began := time.Now()
	dom := chromium(t, address+"#q=hn-77%20level")
	if m := foundCount.FindStringSubmatch(dom); m == nil || m[1] == "" || time.Since(began) > 30*time.Second {
		t.Errorf("%v in %v, %d bytes", m, time.Since(began), len(text))
	}
}
