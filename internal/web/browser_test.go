package web

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a tab of a browser without a window. What the browser complains about fails the test.
type browser struct {
	testing.TB
	ctx context.Context
	url string

	mu         sync.Mutex
	complaints []string
}

// served serves the page of a scene on a free port of 127.0.0.1, and returns its address.
func served(t testing.TB, s *scene) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Public{Status: s.Status, Metrics: NewMetrics("1").Handler(), Page: s.page(), Say: func(text string) { t.Error(text) }}
	ended := make(chan bool)
	go func() {
		defer close(ended)
		if err := p.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return "http://" + l.Addr().String()
}

// chromium is a browser without a window, which is started once.
var chromium = sync.OnceValues(func() (context.Context, error) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		return nil, errors.New("there is no chromium: scripts/deps.sh installs it")
	}
	dir, err := os.MkdirTemp("", "nfsync-browser")
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(dir))
	alloc, end := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ := chromedp.NewContext(alloc)
	endBrowser = func() {
		_ = chromedp.Cancel(ctx) // waits for its end: it uses the directory
		end()
		_ = os.RemoveAll(dir)
	}
	return ctx, chromedp.Do(ctx)
})

// endBrowser ends the browser, if it was started.
var endBrowser = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	endBrowser()
	os.Exit(code)
}

// newBrowser opens an empty tab as wide as a screen.
func newBrowser(t testing.TB, url string, width, height int64, dark bool) *browser {
	t.Helper()
	all, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := chromedp.NewContext(all)
	t.Cleanup(end)
	b := &browser{TB: t, ctx: ctx, url: url}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	call(b, log.Enable, cdp.Empty{})
	call(b, runtime.Enable, cdp.Empty{})
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 500})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	return b
}

// call runs a command of the protocol.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) {
	b.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.Fatal(err)
	}
}

// run runs an action and returns its result.
func run[T any](b *browser, action chromedp.Action[T]) T {
	b.Helper()
	result, err := chromedp.Run(b.ctx, action)
	if err != nil {
		b.Fatal(err)
	}
	return result
}

// hear notes what the browser complains about: scripts that fail, and what the page's policy forbids.
func (b *browser) hear(event any) {
	text := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			text = e.Entry.Text
		}
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Text
	}
	if text != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.complaints = append(b.complaints, text)
	}
}

// quiet fails if the browser has complained.
func (b *browser) quiet() {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.complaints) > 0 {
		b.Errorf("the browser complains: %s", strings.Join(b.complaints, "\n"))
	}
}

// open opens a path of the page.
func (b *browser) open(path string) { b.Helper(); run(b, chromedp.Navigate(b.url+path)) }

// ask returns the value of an expression in the page, as text.
func (b *browser) ask(expression string) string {
	b.Helper()
	return run(b, chromedp.Evaluate[string]("String("+expression+")"))
}

// await waits until an expression in the page has a value.
func (b *browser) await(expression, want string) {
	b.Helper()
	got := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		if got = b.ask(expression); got == want {
			return
		}
	}
	b.Errorf("%s is %q, want %q", expression, got, want)
}
