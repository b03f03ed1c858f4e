package web

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"nfsync.dev/nfsync/internal/nf"
)

// width is how far the document reaches beyond the screen, in pixels.
const width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

// contrast is the lowest contrast of a text of the page with what is behind it (WCAG 2.2, 1.4.3), with that text.
const contrast = `(() => {
	const parts = (color) => { const c = color.match(/[\d.]+/g).map(Number); return c.length < 4 ? [...c, 1] : c; };
	const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	const behind = (e) => { for (; e; e = e.parentElement) { const c = parts(getComputedStyle(e).backgroundColor); if (c[3] === 1) { return c; } } return [255, 255, 255, 1]; };
	let worst = [99, ''];
	for (const e of document.querySelectorAll('body *')) {
		if (!Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.data.trim()) || e.closest('option, title')) { continue; }
		const style = getComputedStyle(e);
		const [a, b] = [light(parts(e instanceof SVGElement ? style.fill : style.color)), light(behind(e))];
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (ratio < worst[0]) { worst = [ratio, e.className + ': ' + e.textContent.slice(0, 30)]; }
	}
	return worst[0] >= 4.5 ? 'enough' : worst.join(' ');
})()`

// TestPageInBrowser: on each screen, by day and by night, nothing is wider than the screen, each text has
// enough contrast, each control a name, and the browser has nothing to complain about.
func TestPageInBrowser(t *testing.T) {
	type screen struct {
		width int64
		dark  bool
	}
	screens := map[string][]screen{"scene": {{1280, false}, {1100, true}, {800, false}, {375, true}, {320, false}}, "hostile": {{1280, true}, {375, false}}, "large": {{1280, false}, {320, true}}, "starting": {{375, false}}}
	for name, s := range map[string]*scene{"scene": newScene(), "hostile": hostileScene(), "large": largeScene(t, 1000), "starting": emptyScene()} {
		t.Run(name, func(t *testing.T) {
			url := served(t, s)
			for _, screen := range screens[name] {
				b := newBrowser(t, url, screen.width, 800, screen.dark)
				began := time.Now()
				b.open("/")
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("the page takes %v", took)
				}
				b.await("document.getElementById('stream').textContent", "· live")
				for expression, want := range map[string]string{
					width:    "0",
					contrast: "enough",
					"document.querySelectorAll('input:not([type=hidden]), select').length - Array.from(document.querySelectorAll('input, select')).filter((e) => e.labels.length === 1).length": "0",
					"document.querySelectorAll('script, style, img, iframe, [style], [onload], [onerror], [onfocus]').length":                                                                   "1",
					"document.querySelectorAll('main, header, footer').length":                                                                                                                  "3",
					"Array.from(document.querySelectorAll('[id]')).length - new Set(Array.from(document.querySelectorAll('[id]'), (e) => e.id)).size":                                           "0",
					"document.querySelectorAll('th:not([scope])').length":                                                                                                                       "0",
					"matchMedia('(prefers-color-scheme: dark)').matches":                                                                                                                        fmt.Sprint(screen.dark),
					"document.title.startsWith('owned')":                                                                                                                                        "false",
				} {
					if got := b.ask(expression); got != want {
						t.Errorf("%d pixels: %s is %s, want %s", screen.width, expression, got, want)
					}
				}
				b.quiet()
			}
		})
	}
}

// TestPageLive: what changes is soon on the page without a reload, with what is open and in focus as it was.
func TestPageLive(t *testing.T) {
	s := newScene()
	b := newBrowser(t, served(t, s), 1280, 800, false)
	b.open("/")
	b.await("document.getElementById('stream').textContent", "· live")
	b.ask("(window.mark = 'not reloaded', document.querySelector('.receipt').open = true, document.querySelector('.receipt summary').focus())")
	s.change(func(s *scene) {
		s.status.Refusals = nil
		s.status.Conditions = append([]nf.Condition(nil), s.status.Conditions...)
		s.status.Conditions[0].Message = "all is as wanted"
	})
	b.await("document.querySelector('#state p').textContent", "all is as wanted")
	b.await("document.querySelectorAll('#group-refused, #groups .entry.red').length", "1")
	for expression, want := range map[string]string{"window.mark": "not reloaded", "document.querySelector('.receipt').open": "true", "document.activeElement.tagName": "SUMMARY", "document.title": "hn-1.example: ready, 3 need attention",
		"document.getElementById('news').textContent": "hn-1.example: ready, 3 need attention"} {
		if got := b.ask(expression); got != want {
			t.Errorf("%s is %s, want %s", expression, got, want)
		}
	}
	b.quiet()
}

// TestPageSearch: what is typed selects containers at once, in the address too, and a page that is reloaded
// or brought up to date keeps it.
func TestPageSearch(t *testing.T) {
	s := largeScene(t, 1000)
	b := newBrowser(t, served(t, s), 1280, 800, false)
	b.open("/")
	b.await("document.getElementById('stream').textContent", "· live")
	run(b, chromedp.SendKeys(chromedp.CSS("#q"), "WEB-99"))
	const rows = "document.querySelectorAll('.containers tbody tr').length"
	b.await(rows, "11")
	b.await("location.search", "?q=WEB-99")
	b.await("document.activeElement.id", "q")
	s.change(func(s *scene) { s.overview.Containers = s.overview.Containers[:995] })
	b.await(rows, "7")
	run(b, chromedp.Reload())
	b.await(rows, "7")
	b.await("document.getElementById('q').value", "WEB-99")
	b.quiet()
}

// TestPageWithoutScript: the form works without the script.
func TestPageWithoutScript(t *testing.T) {
	b := newBrowser(t, served(t, largeScene(t, 1000)), 1280, 800, false)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.open("/")
	run(b, chromedp.SendKeys(chromedp.CSS("#q"), "web-99\n"))
	b.await("document.querySelectorAll('.containers tbody tr').length", "11")
	if got := b.ask("location.search"); !strings.HasPrefix(got, "?q=web-99") {
		t.Error(got)
	}
	if got := b.ask("getComputedStyle(document.querySelector('#filter button')).display"); got == "none" {
		t.Error("there is no button to press")
	}
	b.quiet()
}
