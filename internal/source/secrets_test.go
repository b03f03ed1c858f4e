package source

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// TestKeep: no spelling of a secret is left in a message, wherever the secret comes from, and words
// that messages have too are left.
func TestKeep(t *testing.T) {
	const word = `p ss/w"rd+1`
	t.Setenv("HTTPS_PROXY", "http://proxy-user:proxy-pass@proxy.example:3128")
	t.Setenv("all_proxy", "socks5://u:all-pass@proxy.example")
	j := &job{}
	j.Config.URLs = []string{"https://me:url-pass@git.example/a.git", "https://ghp_0123456789@git.example/a.git", "https://git@git.example/a.git?v=1&private_token=query-token", "ssh://a-long-user@git.example/a.git", "%zz"}
	j.keepURLs()
	j.keepPassword("me", word)
	basic := func(user, password string) string {
		return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	}
	for _, told := range []string{
		word, url.QueryEscape(word), url.PathEscape(word), url.UserPassword("me", word).String(), strconv.Quote(word), basic("me", word), url.QueryEscape(basic("me", word)),
		"proxy-pass", basic("proxy-user", "proxy-pass"), "all-pass", basic("u", "all-pass"), "url-pass", basic("me", "url-pass"), "ghp_0123456789", basic("ghp_0123456789", ""), "query-token",
	} {
		if text := clean("it answers "+told+" to git", j.secrets...); strings.Contains(text, strings.Trim(told, `"`)) || !strings.HasPrefix(text, "it answers ") || !strings.HasSuffix(text, " to git") {
			t.Errorf("%s: %s", told, text)
		}
	}
	const harmless = "the server speaks git 1 to a-long-user"
	if text := clean(harmless, j.secrets...); text != harmless {
		t.Errorf("%s", text)
	}
}
