package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

func TestProgress(t *testing.T) {
	change := nf.Change{Target: nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: "web\x1b[2J"}, Key: nf.KeyMax, To: nf.Number(5)}
	events := []apply.Event{
		{Kind: apply.EventPlanned, Total: 2},
		{Kind: apply.EventStarted, Total: 2, Change: change},
		{Kind: apply.EventDone, Total: 2, Change: change, Outcome: apply.Applied},
	}
	show := func(p *progress, w *bytes.Buffer) string {
		p.w = w
		for _, e := range events {
			p.event(e)
		}
		p.end()
		return w.String()
	}

	var quiet, line, log bytes.Buffer
	if got := show(&progress{}, &quiet); got != "" {
		t.Errorf("without a terminal %q is said", got)
	}
	// What a name holds is shown, not obeyed; at the end the line is empty.
	if got, want := show(&progress{terminal: true}, &line),
		"\r\x1b[K"+`1 of 2: container netns/web\x1b[2J conntrack.max`+"\r\x1b[K"; got != want {
		t.Errorf("on a terminal %q, want %q", got, want)
	}
	got := show(&progress{log: slog.New(slog.NewJSONHandler(&log, nil))}, &log)
	if strings.Count(got, "\n") != 1 || !strings.Contains(got, `"msg":"change applied"`) || !strings.Contains(got, `"to":"5"`) {
		t.Errorf("as JSON %s", got)
	}
}

// A slow fetch is shown on a terminal: one line is rewritten, and removed at the end. A short
// fetch is not shown.
func TestFetching(t *testing.T) {
	var out strings.Builder
	stop := rewriteLine(&out, time.Hour, func(time.Duration) string { return "fetching" })
	stop()
	if out.String() != "" {
		t.Errorf("a short fetch is shown: %q", out.String())
	}
	shown := make(chan bool, 100)
	stop = rewriteLine(&out, time.Millisecond, func(time.Duration) string {
		shown <- true
		return "fetching"
	})
	<-shown
	<-shown
	stop()
	if got := out.String(); !strings.HasPrefix(got, "\r\x1b[Kfetching\r\x1b[Kfetching") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("the terminal got %q", got)
	}
}
