package web

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"

	"nfsync.dev/nfsync/internal/view"
)

// maxPicture is the largest picture of the documents, in bytes.
const maxPicture = 200 << 10

// TestScreenshots makes the pictures of docs/images, in the directory that NFSYNC_SCREENSHOTS names:
// make screenshots.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("NFSYNC_SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	url := served(t, newScene())
	for _, shot := range []struct {
		name          string
		width, height int64
		dark          bool
	}{{"status-page", 1280, 1660, false}, {"status-page-dark", 1280, 1660, true}, {"status-page-phone", 375, 1300, false}} {
		b := newBrowser(t, url, shot.width, shot.height, shot.dark)
		b.open("/")
		b.await("document.getElementById('stream').textContent", "· live")
		save(t, filepath.Join(dir, shot.name+".png"), run(b, chromedp.CaptureScreenshot()))
		b.quiet()
	}
	b := newBrowser(t, planFile(t), 1000, 900, false)
	b.open("")
	save(t, filepath.Join(dir, "plan.png"), run(b, chromedp.CaptureScreenshot()))
	b.quiet()
}

// planFile writes the page of a plan of the scene, and returns its address.
func planFile(t *testing.T) string {
	t.Helper()
	var text bytes.Buffer
	if err := view.Plans.Write(&text, view.FormatHTML, scenePlan(), view.Options{}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "plan.html")
	if err := os.WriteFile(name, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file://" + name
}

// save saves a picture.
func save(t *testing.T, name string, text []byte) {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, fewColours(picture)); err != nil {
		t.Fatal(err)
	}
	if picture.Bounds().Size() == (image.Point{}) || out.Len() > maxPicture {
		t.Errorf("%s has %d bytes, more than %d", name, out.Len(), maxPicture)
	}
	if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fewColours returns a picture with its 256 most frequent colours. Each other one, which only the edges of
// letters have, becomes the nearest of them.
func fewColours(picture image.Image) image.Image {
	counts := map[color.Color]int{}
	at := picture.Bounds()
	for y := at.Min.Y; y < at.Max.Y; y++ {
		for x := at.Min.X; x < at.Max.X; x++ {
			counts[picture.At(x, y)]++
		}
	}
	palette := color.Palette(slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int { return counts[b] - counts[a] }))
	few := image.NewPaletted(at, palette[:min(len(palette), 256)])
	draw.Draw(few, at, picture, at.Min, draw.Src)
	return few
}
