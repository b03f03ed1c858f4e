package spec

import (
	"maps"
	"net"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
)

// Keys that do not exist in a coordinator's configuration file, though people may expect them.
var (
	notOfCoordinator = map[string]foreign{
		"fleet":    {"it is the key of an agent", "the servers are engine.servers, the channel is channel"},
		"metadata": {"it is the name of a policy", "the coordinator's name is name"},
		"rollout":  {"how revisions are rolled out is said in the repository", "write a document of kind: " + nf.KindRollout + " there"},
		"spec":     {"the settings are keys of the document", "remove spec, and move its keys to the left"},
	}
	notOfEngine = map[string]foreign{
		"certFile": {"it belongs to tls", "write it as tls: {certFile: …, keyFile: …}"},
		"keyFile":  {"it belongs to tls", "write it as tls: {certFile: …, keyFile: …}"},
		"password": {"secrets are not allowed here", "write them to a file, and name that as credentialsFile"},
		"token":    {"secrets are not allowed here", "write them to a file, and name that as credentialsFile"},
		"urls":     {"servers of a fleet have a key of their own", "write servers"},
	}
)

// notOfFollowedSource are keys of a source that a coordinator cannot have: what it rolls out moves.
func notOfFollowedSource() map[string]foreign {
	elsewhere := maps.Clone(notOfSource)
	const why, hint = "a coordinator follows a branch", "write branch"
	elsewhere["commit"] = foreign{why, hint}
	elsewhere["dir"] = foreign{"a coordinator follows a repository", "urls: [file:///srv/git/policies.git]"}
	elsewhere["ref"] = foreign{why, hint}
	elsewhere["tag"] = foreign{why, hint}
	return elsewhere
}

// coordinatorDocument reads the document of a coordinator's configuration file.
func (p *parser) coordinatorDocument(root *yaml.Node, config *CoordinatorConfig) {
	p.vet(root, 1)
	if p.bad[root] || !p.isMapping("", root) || !p.isConfig(root, nf.KindCoordinatorConfig, "a coordinator") {
		return
	}
	source := p.gitSourceKeys(&config.Source)
	delete(source, "tag")
	delete(source, "commit")
	p.mapping(fields{
		"apiVersion": p.apiVersion,
		"kind":       func(string, *yaml.Node) {}, // isConfig has read it
		"name":       store(&config.Name, p.fleetName("coordinator")),
		"channel":    store(&config.Channel, p.fleetName("channel")),
		"source":     p.mapping(source, []string{"urls"}, notOfFollowedSource()),
		"verify":     func(path string, n *yaml.Node) { p.verification(path, n, &config.Verify) },
		"listen":     store(&config.Listen, p.listenAddress(DefaultCoordinatorListen)),
		"engine":     func(path string, n *yaml.Node) { p.engine(path, n, &config.Engine) },
		"directory":  store(&config.Directory, p.directoryName),
	}, []string{"apiVersion", "source"}, notOfCoordinator)("", root)
}

// engine reads a server that the coordinator runs itself, or servers that it is a client of.
func (p *parser) engine(path string, n *yaml.Node, engine *Engine) {
	before := p.found.count()
	p.mapping(fields{
		"listen": store(&engine.Listen, p.serverAddress()),
		"tls": p.mapping(fields{
			"certFile": store(&engine.CertFile, p.fileName),
			"keyFile":  store(&engine.KeyFile, p.fileName),
		}, []string{"certFile", "keyFile"}, nil),
		"servers":         store(&engine.Servers, p.fleetServers),
		"credentialsFile": store(&engine.CredentialsFile, p.fileName),
		"caFile":          store(&engine.CAFile, p.fileName),
	}, nil, notOfEngine)(path, n)
	if valueOf(n, "servers") == nil {
		p.ownEngine(path, n, before, engine)
		return
	}
	for _, key := range []string{"listen", "tls"} {
		if value := valueOf(n, key); value != nil {
			p.report(value, RuleExclusiveKeys, "remove "+key+" to use these servers, or servers to run one here", "%s: %s is set as well",
				below(path, key), below(path, "servers"))
		}
	}
	if valueOf(n, "credentialsFile") == nil {
		p.report(n, RuleMissingKey, "credentialsFile: "+DefaultCoordinatorDirectory+"/coordinator.creds, which nfsync-coordinator init writes", "missing key %q in %s: servers is set", "credentialsFile", path)
	}
	engine.Listen = ""
}

// ownEngine checks a server that the coordinator runs itself. before is the number of errors before it was read.
func (p *parser) ownEngine(path string, n *yaml.Node, before int, engine *Engine) {
	for _, key := range []string{"credentialsFile", "caFile"} {
		if value := valueOf(n, key); value != nil {
			p.report(value, RuleMissingKey, missingHints["servers"], "missing key %q in %s: %s is set", "servers", path, key)
		}
	}
	if host, _, _ := net.SplitHostPort(engine.Listen); p.found.count() == before && engine.CertFile == "" && !isLoopback(host) {
		p.report(p.value(n, "listen"), RuleMissingKey, "tls: {certFile: …, keyFile: …}, or listen: "+DefaultEngineListen,
			"missing key %q in %s: %s can be reached from elsewhere", "tls", path, quote(engine.Listen))
	}
}

// isLoopback reports whether a host is this machine alone.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
