package source

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestSecretsInURLs: user-info, query and fragment of a URL are neither in a revision nor in
// an error, and a position is found whatever they are.
func TestSecretsInURLs(t *testing.T) {
	r := newRepo(t)
	first := r.commit("a.yaml", policy)
	plain := serve(t, r)
	withUser := strings.Replace(plain, "://", "://s3cret@", 1)
	cfg := config(t, withUser)
	got := mustFetch(t, cfg)
	if got.URL != plain {
		t.Errorf("the URL is %s", got.URL)
	}
	r.git("commit", "-q", "--amend", "-m", "rewritten")
	for _, stored := range []string{plain, withUser, strings.Replace(plain, "://", "://other@", 1)} {
		asError[*RewrittenError](t, fails(t, cfg, []Position{position(stored, "main", first)}, "was rewritten"))
	}

	refuses := start(t, http.NotFoundHandler())
	for _, u := range []string{
		strings.Replace(refuses, "://", "://s3cret@", 1) + "/policies",
		refuses + "/policies?access_token=s3cret", refuses + "/policies#s3cret",
		"http://s3cret@127.0.0.1:1/policies?token=s3cret", // nothing listens there
		"https://s3cret@[::1/policies", "https://me:s3cret@127.0.0.1/policies", "https://s3cret@127.0.0.1:x/p?s3cret", "ftp://s3cret@127.0.0.1/p",
	} {
		text := fails(t, config(t, u), nil).Error()
		noSecret(t, text, "s3cret")
		if parsed, err := url.Parse(u); err == nil && !strings.Contains(text, parsed.Host) {
			t.Errorf("the error does not name the server: %s", text)
		}
	}
	// A URL that failed before the one that answers is in a warning.
	cfg.URLs = []string{refuses + "/policies?token=s3cret", plain}
	noSecret(t, fmt.Sprint(mustFetch(t, cfg).Warnings), "s3cret")
}
