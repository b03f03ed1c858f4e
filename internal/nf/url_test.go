package nf

import (
	"strings"
	"testing"
)

func TestPublicURL(t *testing.T) {
	for u, want := range map[string]string{
		"https://example.com/a.git":                     "https://example.com/a.git",
		"https://example.com:8443/a@b/c.git":            "https://example.com:8443/a@b/c.git",
		"https://[::1]:8443/a.git":                      "https://[::1]:8443/a.git",
		"https://s3cret@example.com/a.git":              "https://example.com/a.git",
		"https://me:s3cret@example.com/a.git":           "https://example.com/a.git",
		"https://me:s3@cret@example.com/a.git":          "https://example.com/a.git",
		"https://me:s3/cret@example.com/a.git":          "https://example.com/a.git",
		"https://me:s3?cret@example.com/a.git":          "https://example.com/a.git",
		"https://me:s3#cret@[::1]:8443/a.git":           "https://[::1]:8443/a.git",
		"HTTPS://s3cret@example.com/a.git":              "HTTPS://example.com/a.git",
		"https://example.com/a.git?access_token=s3cret": "https://example.com/a.git",
		"https://example.com?access_token=s3cret@x":     "https://example.com",
		"https://example.com/a.git#s3cret":              "https://example.com/a.git",
		"https://%73@example.com/%zz?s3cret":            "https://example.com/%zz",
		"ssh://git@example.com/a.git":                   "ssh://git@example.com/a.git",
		"ssh://git:s3cret@example.com:22/a.git?s3cret":  "ssh://git@example.com:22/a.git",
		"socks5://me:s3cret@proxy:1080":                 "socks5://proxy:1080",
		"git@example.com:a.git":                         "git@example.com:a.git",
		"git:s3cret@example.com:a.git":                  "git@example.com:a.git",
		"example.com:a@b.git":                           "example.com:a@b.git",
		"/srv/a?b#c@d":                                  "/srv/a?b#c@d",
		"file:///srv/a?b#c":                             "file:///srv/a?b#c",
		"a b":                                           "a b",
		"":                                              "",
	} {
		if got := PublicURL(u); got != want {
			t.Errorf("%s is %s, want %s", u, got, want)
		}
		if got := PublicURL(PublicURL(u)); got != PublicURL(u) {
			t.Errorf("%s twice is %s", u, got)
		}
	}
	text := PublicText(`Get "https://s3cret@example.com/a?token=s3cret": refused; https://b.example/c#s3cret (ssh://git@d/e)`)
	if want := `Get "https://example.com/a": refused; https://b.example/c (ssh://git@d/e)`; text != want {
		t.Errorf("the text is %s", text)
	}
	if strings.Contains(text, "s3cret") {
		t.Error("it holds a secret")
	}
}
