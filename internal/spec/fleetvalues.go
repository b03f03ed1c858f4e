package spec

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
)

// The values that say how a fleet is reached.

// fleet reads how an agent reaches its fleet.
func (p *parser) fleet(fleet *Fleet) field {
	return p.mapping(fields{
		"servers":         store(&fleet.Servers, p.fleetServers),
		"credentialsFile": store(&fleet.CredentialsFile, p.fileName),
		"caFile":          store(&fleet.CAFile, p.fileName),
		"channel":         store(&fleet.Channel, p.fleetName("channel")),
		"coordinatorKey":  store(&fleet.CoordinatorKey, p.publicKey),
	}, []string{"servers", "credentialsFile", "coordinatorKey"}, notOfFleet)
}

var notOfFleet = map[string]foreign{
	"credentials": {"secrets are not allowed here", "write them to a file, and name that as credentialsFile"},
	"name":        {"a node has one name", "write it as node: {name: …}"},
	"password":    {"secrets are not allowed here", "nfsync-coordinator enroll prints credentials; write them to a file, and name that as credentialsFile"},
	"seed":        {"secrets are not allowed here", "write it to a file, and name that as credentialsFile"},
	"token":       {"secrets are not allowed here", "nfsync-coordinator enroll prints credentials; write them to a file, and name that as credentialsFile"},
	"urls":        {"servers of a fleet have a key of their own", "write servers"},
}

// joins checks what else the configuration of an agent in a fleet has.
func (p *parser) joins(root *yaml.Node, config *AgentConfig) {
	source := p.value(root, "source")
	for _, key := range []string{"tag", "commit"} {
		if source == nil || valueOf(source, key) == nil {
			continue
		}
		p.report(valueOf(source, key), RuleExclusiveKeys, "write branch, which the coordinator follows too, or remove fleet", "source.%s: fleet is set as well", key)
	}
	if name := config.Node.Name; name != "" && !nf.IsFleetName(name) {
		p.report(p.value(p.value(root, "node"), "name"), RuleInvalidValue, fleetNameHint, "node.name: a node of this name cannot be in a fleet: %s", quote(name))
	}
}

const fleetNameHint = "letters, digits, - and _, in parts with dots between them, at most 128 in all"

// fleetName reads a name that can be part of a subject.
func (p *parser) fleetName(noun string) reader[string] {
	return p.textThat(nf.IsFleetName, fleetNameHint, "%s: %s cannot be the name of a "+noun)
}

// publicKeyForm matches public nkeys: 35 bytes in base 32.
var (
	publicKeyForm = regexp.MustCompile(`^[A-Z2-7]{56}$`)
	seedForm      = regexp.MustCompile(`^S[A-Z2-7]{57}$`)
)

// publicKey reads a public nkey.
func (p *parser) publicKey(path string, n *yaml.Node) (string, bool) {
	const hint = "the 56 letters and digits that nfsync-coordinator init prints"
	text, ok := p.text(path, n)
	switch {
	case !ok:
	case seedForm.MatchString(text):
		p.report(n, RuleInvalidValue, hint, "%s is the secret half of a key: it belongs to the coordinator alone", path)
	case !publicKeyForm.MatchString(text):
		p.report(n, RuleInvalidValue, hint, "%s is not a public key", path)
	default:
		return text, true
	}
	return "", false
}

// fleetServers reads the URLs of servers. A client uses web sockets for all of them, or for none.
func (p *parser) fleetServers(path string, n *yaml.Node) ([]string, bool) {
	list, ok := p.texts(p.serverURL)(path, n)
	if !ok {
		return nil, false
	}
	isWeb := func(text string) bool { return strings.HasPrefix(text, "ws") }
	if other := slices.IndexFunc(list, func(text string) bool { return isWeb(text) != isWeb(list[0]) }); other >= 0 {
		p.report(n.Content[other], RuleExclusiveKeys, "ws and wss, or nats and tls", "%s: a web socket cannot be beside a server that is none", path)
		return nil, false
	}
	return list, true
}

// serverSchemes are the schemes of servers, and those with TLS that stand for them.
var serverSchemes = map[string]string{"nats": "tls", "tls": "tls", "ws": "wss", "wss": "wss"}

var serverURL = regexp.MustCompile(`^[a-z]+://[^/?#@\s\x00-\x1f\x7f]+/?$`)

// serverURL reads the URL of a server. Credentials and snapshots travel on the wire, so that one without TLS must be this
// machine's.
func (p *parser) serverURL(path string, n *yaml.Node) (string, bool) {
	const hint = "as in tls://nats.example.com:4222 or wss://nats.example.com"
	text, ok := p.text(path, n)
	if !ok {
		return "", false
	}
	scheme, _, _ := strings.Cut(text, "://")
	secure, known := serverSchemes[scheme]
	switch {
	case userinfo.MatchString(text):
		p.report(n, RuleInvalidValue, "credentials go to a file, which credentialsFile names", "%s must hold neither user nor password", path)
	case urlScheme.MatchString(text) && !known:
		p.report(n, RuleUnknownWord, hint, "%s: unknown scheme %s: tls, wss, nats and ws are known", path, quote(scheme))
	case !known || !serverURL.MatchString(text) || !hasServer(text):
		p.report(n, RuleInvalidValue, hint, "%s is not the URL of a server", path)
	case scheme != secure && !isLoopback(hostOf(text)):
		p.report(n, RuleInvalidValue, "write "+quote(secure+strings.TrimPrefix(text, scheme)), "%s: without TLS a server must be on this machine", path)
	default:
		return strings.TrimSuffix(text, "/"), true
	}
	return "", false
}

// hostOf returns the host of a URL that hasServer.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
