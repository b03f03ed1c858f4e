package nf

import (
	"regexp"
	"strings"
)

// urlParts matches a URL of a server: the scheme, user-info and host, and the rest.
var urlParts = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)$`)

// badPort matches a host with what cannot be its port: the end of a password that was not
// escaped.
var badPort = regexp.MustCompile(`:[0-9]*[^0-9\]]`)

// scpPassword matches the password in user:password@host:path.
var scpPassword = regexp.MustCompile(`^([^:/@]*):[^/@]*(@[^:/@]+:)`)

// PublicURL returns a URL without the parts that may hold secrets: the user-info, the query
// and the fragment. Everything that prints or stores the URL of a repository prints and
// stores this one. The user of ssh stays, because it is no secret. A path is returned as it
// is.
func PublicURL(u string) string {
	m := urlParts.FindStringSubmatch(u)
	if m == nil {
		return scpPassword.ReplaceAllString(u, "$1$2")
	}
	scheme, host, rest := m[1], m[2], m[3]
	if strings.EqualFold(scheme, "file") {
		return u
	}
	user := ""
	if i := strings.LastIndex(host, "@"); i >= 0 {
		user, host = host[:i], host[i+1:]
	} else if i := strings.LastIndex(rest, "@"); i >= 0 && badPort.MatchString(host) {
		user, host, rest = host, "", rest[i+1:]
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	if name, _, _ := strings.Cut(user, ":"); name != "" && strings.EqualFold(scheme, "ssh") {
		host = name + "@" + host
	}
	return scheme + "://" + host + rest
}

// urlInText matches a URL in a text.
var urlInText = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]+`)

// PublicText returns a text in which each URL is as PublicURL returns it.
func PublicText(text string) string { return urlInText.ReplaceAllStringFunc(text, PublicURL) }
