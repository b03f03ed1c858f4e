package spec

import (
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
)

// Keys that do not exist in a configuration file, though people may expect them.
var (
	notOfAgent = map[string]foreign{
		"metadata":      {"it is the name of a policy", "the node's name is node.name"},
		"spec":          {"the settings are keys of the document", "remove spec, and move its keys to the left"},
		"webhookSecret": {"secrets are not allowed here", "write it to a file, and name that as webhookSecretFile"},
	}
	notOfSource = map[string]foreign{
		"dir":   {"a directory is named on the command line", "nfsync agent DIR"},
		"proxy": {"it belongs to http", "write it as http: {proxy: URL}"},
		"ref":   {"what is followed has a key of its own", "one of branch, tag, commit"},
		"url":   {"several are tried in order", "write it as urls: [URL]"},
	}
	notOfHTTP = map[string]foreign{
		"password": {"secrets are not allowed here", "write it to a file, and name that as passwordFile"},
		"token":    {"secrets are not allowed here", "write it to a file, and name that as tokenFile"},
	}
	notOfSSH = map[string]foreign{
		"key":      {"secrets are not allowed here", "write it to a file, and name that as keyFile"},
		"password": {"ssh takes a key only", "make one with ssh-keygen, and name it as keyFile"},
		"user":     {"it is part of the URL", "write it as in ssh://git@git.example.com/policies.git"},
	}
)

// agentDocument reads the document of a configuration file.
func (p *parser) agentDocument(root *yaml.Node, config *AgentConfig) {
	p.vet(root, 1)
	if p.bad[root] || !p.isMapping("", root) || !p.isConfig(root, nf.KindAgentConfig, "the agent") {
		return
	}
	p.mapping(fields{
		"apiVersion": p.apiVersion,
		"kind":       func(string, *yaml.Node) {}, // isConfig has read it
		"node": p.mapping(fields{
			"name":   store(&config.Node.Name, p.nodeName()),
			"labels": store(&config.Node.Labels, p.labels(p.text)),
		}, nil, nil),
		"source":   p.gitSource(&config.Source),
		"verify":   func(path string, n *yaml.Node) { p.verification(path, n, &config.Verify) },
		"runtimes": store(&config.Runtimes, p.texts(p.runtime())),
		"mode":     store(&config.Mode, p.word("mode", ModeEnforce, ModeObserve)),
		"drift": p.mapping(fields{
			"interval": store(&config.Drift.Interval, p.duration),
			"heal":     store(&config.Drift.Heal, p.boolean),
		}, nil, nil),
		"apply":             p.applying(&config.Apply),
		"restart":           p.restarts(&config.Restart),
		"listen":            store(&config.Listen, p.listenAddress(DefaultListen)),
		"webhookSecretFile": store(&config.WebhookSecretFile, p.fileName),
		"publish": func(path string, n *yaml.Node) {
			config.Publish = &Publish{Branch: nf.DefaultNodeBranch}
			p.publish(config.Publish)(path, n)
		},
		"fleet": func(path string, n *yaml.Node) {
			config.Fleet = &Fleet{Channel: nf.DefaultChannel}
			p.fleet(config.Fleet)(path, n)
		},
	}, []string{"apiVersion"}, notOfAgent)("", root)
	if config.Publish != nil && slices.Contains(config.Source.URLs, config.Publish.URL) {
		p.report(p.value(p.value(root, "publish"), "url"), RuleInvalidValue, "publish to a repository of its own",
			"publish.url is a repository of source.urls: each snapshot would be a new commit to follow")
	}
	if config.Fleet != nil {
		p.joins(root, config)
	}
}

// isConfig reports whether the kind is that of a configuration. Of another document that is
// the only error.
func (p *parser) isConfig(root *yaml.Node, want, who string) bool {
	if valueOf(root, "kind") == nil {
		p.report(root, RuleMissingKey, "kind: "+want, "missing key %q in %s", "kind", place(""))
	}
	value := p.value(root, "kind")
	if value == nil {
		return true
	}
	kind, ok := p.text("kind", value)
	switch {
	case !ok || kind == want:
	case slices.Contains(policyKinds, kind):
		p.report(value, RuleWrongKind, "policies belong in the repository that "+who+" follows", "a %s is not %s", kind, article(want))
	default:
		p.report(value, RuleWrongKind, "write "+want, "kind must be %s, not %s", want, quote(kind))
	}
	return kind == want
}

// article returns a kind with its article.
func article(kind string) string {
	if strings.ContainsAny(kind[:1], "AEIOU") {
		return "an " + kind
	}
	return "a " + kind
}

func (p *parser) gitSource(source *GitSource) field {
	return p.mapping(p.gitSourceKeys(source), []string{"urls"}, notOfSource)
}

// gitSourceKeys are the keys of a repository that is followed.
func (p *parser) gitSourceKeys(source *GitSource) fields {
	var revision string // the key that names what is followed
	only := func(key string, to *string, read reader[string]) field {
		return func(path string, n *yaml.Node) {
			if revision != "" {
				p.report(n, RuleExclusiveKeys, "remove all but one of branch, tag, commit", "%s: %s is set as well", path, revision)
				return
			}
			revision = key
			store(to, read)(path, n)
		}
	}
	want := p.gitAuth(&source.Auth)
	want["urls"] = store(&source.URLs, p.texts(p.gitURL))
	want["branch"] = only("branch", &source.Branch, p.refName)
	want["tag"] = only("tag", &source.Tag, p.refName)
	want["commit"] = only("commit", &source.Commit, p.commitID())
	want["allowEmpty"] = store(&source.AllowEmpty, p.boolean)
	want["path"] = store(&source.Path, p.repositoryPath)
	want["interval"] = store(&source.Interval, p.duration)
	want["timeout"] = store(&source.Timeout, p.duration)
	want["maxPackSize"] = store(&source.MaxPackSize, p.packSize)
	return want
}

func (p *parser) publish(publish *Publish) field {
	want := p.gitAuth(&publish.Auth)
	want["url"] = store(&publish.URL, p.gitURL)
	want["branch"] = store(&publish.Branch, p.nodeBranch)
	want["path"] = store(&publish.Path, p.repositoryPath)
	return p.mapping(want, []string{"url"}, nil)
}

// gitAuth are the keys of a mapping that says how a repository is reached.
func (p *parser) gitAuth(auth *GitAuth) fields {
	return fields{
		"ssh": p.mapping(fields{
			"keyFile":          store(&auth.SSHKeyFile, p.fileName),
			"knownHostsFile":   store(&auth.KnownHostsFile, p.fileName),
			"legacyAlgorithms": store(&auth.SSHLegacyAlgorithms, p.boolean),
		}, nil, notOfSSH),
		"http": func(path string, n *yaml.Node) { p.httpAuth(path, n, auth) },
	}
}

func (p *parser) httpAuth(path string, n *yaml.Node, auth *GitAuth) {
	p.mapping(fields{
		"user":         store(&auth.User, p.userName),
		"passwordFile": store(&auth.PasswordFile, p.fileName),
		"tokenFile":    store(&auth.TokenFile, p.fileName),
		"caFile":       store(&auth.CAFile, p.fileName),
		"certFile":     store(&auth.ClientCertFile, p.fileName),
		"keyFile":      store(&auth.ClientKeyFile, p.fileName),
		"proxy":        store(&auth.Proxy, p.proxyURL),
	}, nil, notOfHTTP)(path, n)
	for _, pair := range [][2]string{{"user", "passwordFile"}, {"passwordFile", "user"}, {"certFile", "keyFile"}, {"keyFile", "certFile"}} {
		if key, needs := pair[0], pair[1]; valueOf(n, key) != nil && valueOf(n, needs) == nil {
			p.report(n, RuleMissingKey, missingHints[needs], "missing key %q in %s: %s is set", needs, path, key)
		}
	}
	if valueOf(n, "tokenFile") != nil && (valueOf(n, "user") != nil || valueOf(n, "passwordFile") != nil) {
		p.report(valueOf(n, "tokenFile"), RuleExclusiveKeys, "remove the token, or user and passwordFile",
			"%s: user or passwordFile is set as well", below(path, "tokenFile"))
	}
}

func (p *parser) verification(path string, n *yaml.Node, verify *Verification) {
	p.mapping(fields{
		"mode":           store(&verify.Mode, p.word("mode of verification", VerifyNone, VerifyTip, VerifyAll)),
		"keyrings":       store(&verify.Keyrings, p.texts(p.fileName)),
		"allowedSigners": store(&verify.AllowedSigners, p.texts(p.fileName)),
	}, []string{"mode"}, nil)(path, n)
	if verify.Mode != VerifyNone && valueOf(n, "keyrings") == nil && valueOf(n, "allowedSigners") == nil {
		p.report(n, RuleMissingKey, "name the files of the keys that are trusted", "missing key %q or %q in %s: mode is %s",
			"allowedSigners", "keyrings", path, verify.Mode)
	}
}

func (p *parser) applying(applying *Applying) field {
	const most = 64
	return p.mapping(fields{"parallel": p.count(&applying.Parallel, most)}, nil, nil)
}

// count reads a number from 1 to most.
func (p *parser) count(to *int, most int64) field {
	return func(path string, n *yaml.Node) {
		if number, ok := p.integer(path, n, 1, most); ok {
			*to = int(number)
		}
	}
}

func (p *parser) restarts(restarts *Restarts) field {
	return p.mapping(fields{
		"maxRestarts": p.count(&restarts.MaxRestarts, 1000),
		"window": func(path string, n *yaml.Node) {
			restarts.Window = new(Window)
			p.window(path, n, restarts.Window, fields{}, nil)
		},
	}, nil, nil)
}

// window reads a window. want are further keys of it, and elsewhere are none of it.
func (p *parser) window(path string, n *yaml.Node, window *Window, want fields, elsewhere map[string]foreign) {
	before := p.found.count()
	want["days"] = store(&window.Days, p.days)
	want["start"] = store(&window.Start, p.clock)
	want["end"] = store(&window.End, p.clock)
	p.mapping(want, []string{"start", "end"}, elsewhere)(path, n)
	if p.found.count() == before && window.Start == window.End {
		p.report(valueOf(n, "end"), RuleEmptyValue, "for any time, remove the window", "%s is empty: it ends when it starts", path)
	}
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (p *parser) days(path string, n *yaml.Node) ([]time.Weekday, bool) {
	names, ok := p.texts(p.word("day", dayNames...))(path, n)
	var days []time.Weekday
	for _, name := range names {
		days = append(days, time.Weekday(slices.Index(dayNames, name)))
	}
	slices.Sort(days)
	return slices.Compact(days), ok
}
