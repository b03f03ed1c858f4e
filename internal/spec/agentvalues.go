package spec

import (
	"net"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
)

// The values of a configuration file. A value that may hold a secret, written in
// the wrong place, is never repeated in a message: messages go to logs.

func (p *parser) boolean(path string, n *yaml.Node) (value, ok bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		p.report(n, RuleWrongType, "", "%s must be true or false, not %s", path, describe(n))
		return false, false
	}
	return strings.EqualFold(n.Value, "true"), true
}

func (p *parser) duration(path string, n *yaml.Node) (time.Duration, bool) {
	seconds, ok := p.timeout(path, n)
	return time.Duration(seconds) * time.Second, ok
}

// packSize reads a size as nf.ParseSize does, also as a number.
func (p *parser) packSize(path string, n *yaml.Node) (nf.Size, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!str" {
		p.report(n, RuleWrongType, packSizeHint, "%s must be a size, not %s", path, describe(n))
		return 0, false
	}
	size, err := nf.ParseSize(n.Value)
	switch {
	case err != nil:
		p.report(n, RuleInvalidValue, packSizeHint, "%s: %s is not a size", path, quote(n.Value))
		return 0, false
	case size < LeastMaxPackSize || size > MostMaxPackSize:
		p.report(n, RuleOutOfRange, "", "%s must be %s to %s, not %s", path, LeastMaxPackSize, MostMaxPackSize, quote(n.Value))
		return 0, false
	}
	return size, true
}

const packSizeHint = "write it as 512MiB or 2GiB"

var validClock = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])$`)

// clock reads a time of the day, as the time since midnight.
func (p *parser) clock(path string, n *yaml.Node) (time.Duration, bool) {
	text, ok := p.textThat(validClock.MatchString, `write it as "02:30" or "22:00"`, "%s: %s is not a time of the day")(path, n)
	if !ok {
		return 0, false
	}
	hours, _ := strconv.Atoi(text[:2])
	minutes, _ := strconv.Atoi(text[3:])
	return time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute, true
}

var oneWord = regexp.MustCompile(`^[^\s\x00-\x1f\x7f]+$`)

func (p *parser) nodeName() reader[string] {
	return p.textThat(oneWord.MatchString, "", "%s: the name of a node holds no white space, as %s does")
}

// printable is a text in one line, without control characters.
var printable = regexp.MustCompile(`^[^\x00-\x1f\x7f]+$`)

// userName reads the user of basic authentication, which ends at a colon
// (RFC 7617, section 2).
func (p *parser) userName(path string, n *yaml.Node) (string, bool) {
	name, ok := p.text(path, n)
	if ok && (!printable.MatchString(name) || strings.Contains(name, ":")) {
		p.report(n, RuleInvalidValue, "a password goes to a file, which passwordFile names", "%s must hold neither a colon nor control characters", path)
		return "", false
	}
	return name, ok
}

func (p *parser) fileName(path string, n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || !strings.HasPrefix(n.Value, "/") || !printable.MatchString(n.Value) {
		p.report(n, RuleInvalidValue, "a name such as /etc/nfsync/file; what is in the file does not belong here", "%s must be the absolute name of a file", path)
		return "", false
	}
	return n.Value, true
}

func (p *parser) directoryName(path string, n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || !strings.HasPrefix(n.Value, "/") || !printable.MatchString(n.Value) {
		p.report(n, RuleInvalidValue, "a name such as "+DefaultCoordinatorDirectory, "%s must be the absolute name of a directory", path)
		return "", false
	}
	return n.Value, true
}

// Names of branches and tags, see git-check-ref-format(1).
var (
	refCharacters = regexp.MustCompile(`^[^\x00-\x20~^:?*\[\\\x7f]+$`)
	refFaults     = regexp.MustCompile(`\.\.|@\{|//|^[-/.]|[/.]$|\.lock(/|$)|/\.|^@$`)
	refPrefix     = regexp.MustCompile(`^refs/(heads|tags)/`)
)

func (p *parser) refName(path string, n *yaml.Node) (string, bool) {
	name, ok := p.text(path, n)
	switch {
	case !ok:
		return "", false
	case refPrefix.MatchString(name):
		p.report(n, RuleInvalidValue, "write "+strconv.Quote(brief(refPrefix.ReplaceAllString(name, ""))), "%s is a name alone, not %s", path, quote(name))
		return "", false
	case !refCharacters.MatchString(name) || refFaults.MatchString(name):
		p.report(n, RuleInvalidValue, "git-check-ref-format(1) describes the names that git allows", "%s: %s cannot be a name in git", path, quote(name))
		return "", false
	}
	return name, true
}

// nodeBranch reads the branch of a node, in which nf.NodePlaceholder may stand for its name, once.
func (p *parser) nodeBranch(path string, n *yaml.Node) (string, bool) {
	name, ok := p.refName(path, n)
	if !ok {
		return "", false
	}
	if rest := strings.Replace(name, nf.NodePlaceholder, "", 1); strings.ContainsAny(rest, "{}") {
		p.report(n, RuleInvalidValue, "such as "+nf.DefaultNodeBranch, "%s: %s may have %s once, and no other braces", path, quote(name), nf.NodePlaceholder)
		return "", false
	}
	return name, true
}

func (p *parser) commitID() reader[string] {
	return p.textThat(nf.IsCommitID, "git rev-parse REVISION prints them",
		"%s must be all 40 hexadecimal digits of a commit, in lower case, not %s")
}

var parentDirectory = regexp.MustCompile(`(^|/)\.\.(/|$)`)

// repositoryPath reads a directory of a repository; its root is the empty path.
func (p *parser) repositoryPath(where string, n *yaml.Node) (string, bool) {
	const hint = "a path from the root of the repository, such as policies/edge"
	name, ok := p.text(where, n)
	switch {
	case !ok:
		return "", false
	case strings.HasPrefix(name, "/"):
		p.report(n, RuleInvalidValue, hint, "%s must not begin with a slash", where)
		return "", false
	case strings.Contains(name, `\`) || !printable.MatchString(name) || parentDirectory.MatchString(name):
		p.report(n, RuleInvalidValue, hint, "%s: %s is not a path in a repository", where, quote(name))
		return "", false
	}
	if name = path.Clean(name); name == "." {
		name = ""
	}
	return name, true
}

// The URLs that git knows: of a server, of a host for ssh as in
// git@host:path, and of a directory.
var (
	httpURL      = regexp.MustCompile(`^https?://[^/?#@\s\x00-\x1f\x7f]+(/[^#\s\x00-\x1f\x7f]*)?$`)
	sshURL       = regexp.MustCompile(`^ssh://([A-Za-z0-9._-]+@)?[^/?#@\s\x00-\x1f\x7f]+/[^#\s\x00-\x1f\x7f]+$`)
	scpURL       = regexp.MustCompile(`^([A-Za-z0-9._-]+@)?[A-Za-z0-9._-]+:/?[^:/@\s\x00-\x1f\x7f][^:@\s\x00-\x1f\x7f]*$`)
	directoryURL = regexp.MustCompile(`^(file://)?/[^\x00-\x1f\x7f]+$`)
	passwordURL  = regexp.MustCompile(`^ssh://[^/?#@]*:[^/?#]*@`)
	userinfo     = regexp.MustCompile(`^[A-Za-z0-9+.-]+://[^/?#]*@`)
	urlScheme    = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://`)
)

func (p *parser) gitURL(path string, n *yaml.Node) (string, bool) {
	text, ok := p.text(path, n)
	if !ok {
		return "", false
	}
	const hint = "as in https://git.example.com/policies.git, ssh://git@git.example.com/policies.git, git@git.example.com:policies.git, or /srv/git/policies.git"
	scheme := ""
	if m := urlScheme.FindStringSubmatch(text); m != nil {
		scheme = m[1]
	}
	switch {
	case (scheme == "http" || scheme == "https") && userinfo.MatchString(text):
		p.report(n, RuleInvalidValue, "write the user as http: {user: …} and its password to a file, which passwordFile names",
			"%s must hold neither user nor password", path)
	case passwordURL.MatchString(text):
		p.report(n, RuleInvalidValue, "ssh takes a key only, which ssh: {keyFile: …} names", "%s must hold no password", path)
	case scheme != "" && scheme != "http" && scheme != "https" && scheme != "ssh" && scheme != "file":
		p.report(n, RuleUnknownWord, hint, "%s: unknown scheme %s: https, http, ssh and file are known", path, quote(scheme))
	case strings.Contains(text, "#") && scheme != "" && scheme != "file":
		p.report(n, RuleInvalidValue, "name it as branch, tag or commit", "%s must hold no revision behind a #", path)
	case !isGitURL(text, scheme):
		p.report(n, RuleInvalidValue, hint, "%s is not the URL of a repository", path)
	default:
		return text, true
	}
	return "", false
}

func isGitURL(text, scheme string) bool {
	switch scheme {
	case "http", "https":
		return httpURL.MatchString(text) && hasServer(text)
	case "ssh":
		return sshURL.MatchString(text) && hasServer(text)
	}
	return directoryURL.MatchString(text) || scheme == "" && scpURL.MatchString(text)
}

// hasServer reports whether a URL names a host, and no port or a valid one.
func hasServer(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Hostname() != "" && (u.Port() == "" && !strings.HasSuffix(u.Host, ":") || isPort(u.Port()))
}

func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

var proxyURL = regexp.MustCompile(`^(https?|socks5)://[^/?#@\s\x00-\x1f\x7f]+/?$`)

func (p *parser) proxyURL(path string, n *yaml.Node) (string, bool) {
	text, ok := p.text(path, n)
	switch {
	case !ok:
		return "", false
	case userinfo.MatchString(text):
		p.report(n, RuleInvalidValue, "a proxy with a password is named by the environment: HTTPS_PROXY, in a file that only root can read",
			"%s must hold neither user nor password", path)
		return "", false
	case !proxyURL.MatchString(text) || !hasServer(text):
		p.report(n, RuleInvalidValue, "as in http://proxy.example.com:3128; https and socks5 are known too", "%s is not the URL of a proxy", path)
		return "", false
	}
	return text, true
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

// listenAddress reads an address and a port, or that there is none.
func (p *parser) listenAddress(example string) reader[string] {
	return p.textThat(isListenAddress, "as in "+example+" or [::1]:9469, or none", "%s must be an address and a port, not %s")
}

func isListenAddress(text string) bool { return text == ListenNone || isServerAddress(text) }

// serverAddress reads an address and a port.
func (p *parser) serverAddress() reader[string] {
	return p.textThat(isServerAddress, "as in "+DefaultEngineListen+" or [::1]:4222", "%s must be an address and a port, not %s")
}

func isServerAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	return err == nil && isPort(port) && (host == "" || net.ParseIP(host) != nil || hostName.MatchString(host))
}
