package spec

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"nfsync.dev/nfsync/internal/nf"
)

const exampleConfig = "../../examples/agent.yaml"

// TestAgentConfigErrors holds every invalid configuration to its exact
// messages, hints and places.
func TestAgentConfigErrors(t *testing.T) {
	files := glob(t, "testdata/agentconfig/err/*.yaml")
	if len(files) < 90 {
		t.Fatalf("only %d invalid files", len(files))
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			config, found := ParseAgentConfig(File{Name: filepath.Base(name), Data: read(t, name)})
			if len(found) == 0 {
				t.Fatal("it was taken")
			}
			if diff := cmp.Diff(AgentConfig{}, config); diff != "" {
				t.Errorf("a configuration beside errors:\n%s", diff)
			}
			text := format(found)
			for _, secret := range []string{"hunter2", "271828", "ghp_secret"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s is repeated in\n%s", secret, text)
				}
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".out", text)
		})
	}
}

// TestAgentConfigValid holds every valid configuration, and the example, to
// give no diagnostic.
func TestAgentConfigValid(t *testing.T) {
	for _, name := range append(glob(t, "testdata/agentconfig/ok/*.yaml"), exampleConfig) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			if _, found := ParseAgentConfig(File{Name: filepath.Base(name), Data: read(t, name)}); len(found) > 0 {
				t.Errorf("refused:\n%s", format(found))
			}
		})
	}
}

// TestAgentConfigExample holds every key of the example, also those in
// comments, to arrive where it belongs.
func TestAgentConfigExample(t *testing.T) {
	got, found := ParseAgentConfig(File{Name: "agent.yaml", Data: []byte(uncommented(string(read(t, exampleConfig))))})
	if len(found) > 0 {
		t.Fatalf("with all comments made keys:\n%s", format(found))
	}
	want := AgentConfig{
		Node: nf.NodeIdentity{Name: "hn-1", Labels: map[string]string{"role": "edge"}},
		Source: GitSource{
			URLs:   []string{"https://git.example.com/netfilter/policies.git", "ssh://git@mirror.example.com/netfilter/policies.git"},
			Branch: "main", Path: "policies", AllowEmpty: true, Interval: time.Minute, Timeout: time.Minute, MaxPackSize: 256 * nf.MiB,
			Auth: GitAuth{
				SSHKeyFile: "/etc/nfsync/deploy-key", KnownHostsFile: "/etc/nfsync/known_hosts", SSHLegacyAlgorithms: true,
				User: "nfsync", PasswordFile: "/etc/nfsync/password", CAFile: "/etc/nfsync/ca.pem",
				ClientCertFile: "/etc/nfsync/client.crt", ClientKeyFile: "/etc/nfsync/client.key", Proxy: "http://proxy.example.com:3128",
			},
		},
		Verify:   Verification{Mode: VerifyTip, Keyrings: []string{"/etc/nfsync/trusted.asc"}, AllowedSigners: []string{"/etc/nfsync/allowed_signers"}},
		Runtimes: []string{nf.RuntimeDocker, nf.RuntimeNetns},
		Mode:     ModeEnforce,
		Drift:    Drift{Interval: 5 * time.Minute, Heal: true},
		Apply:    Applying{Parallel: 4},
		Restart: Restarts{MaxRestarts: 1, Window: &Window{
			Days: []time.Weekday{time.Sunday, time.Saturday}, Start: 22 * time.Hour, End: 4 * time.Hour,
		}},
		Listen:            "127.0.0.1:9469",
		WebhookSecretFile: "/etc/nfsync/webhook-secret",
		Publish: &Publish{
			URL: "ssh://git@git.example.com/netfilter/nodes.git", Branch: "nodes/{node}", Path: "snapshots",
			Auth: GitAuth{SSHKeyFile: "/etc/nfsync/publish-key", KnownHostsFile: "/etc/nfsync/known_hosts"},
		},
		Fleet: &Fleet{
			Servers: []string{"tls://nats.example.com:4222"}, CredentialsFile: "/etc/nfsync/fleet.creds", CAFile: "/etc/nfsync/fleet-ca.pem",
			Channel: "main", CoordinatorKey: "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// uncommented makes the keys of the example that are comments keys, but
// for the token, which excludes the password.
func uncommented(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		indent, rest, isComment := strings.Cut(line, "# ")
		key, _, isKey := strings.Cut(rest, ": ")
		if isComment && isKey && strings.TrimSpace(indent) == "" && !strings.Contains(strings.TrimLeft(key, " "), " ") && key != "tokenFile" && key != "yaml-language-server" {
			line = indent + rest
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}

// TestAgentConfigValues reads what has more than one spelling, and what a
// configuration is that names nothing.
func TestAgentConfigValues(t *testing.T) {
	read := func(name string) AgentConfig {
		config, found := ParseAgentConfig(File{Name: name, Data: read(t, "testdata/agentconfig/ok/"+name)})
		if len(found) > 0 {
			t.Fatalf("%s: %s", name, format(found))
		}
		return config
	}
	if diff := cmp.Diff(DefaultAgentConfig(), read("minimal.yaml")); diff != "" {
		t.Errorf("defaults:\n%s", diff)
	}
	if got := read("path-dot.yaml").Source.Path; got != "policies/edge" {
		t.Errorf("the path is %q", got)
	}
	if got := read("path-root.yaml").Source.Path; got != "" {
		t.Errorf("the root is %q", got)
	}
	durations := read("durations.yaml")
	if diff := cmp.Diff([]time.Duration{90 * time.Second, 90 * time.Second, time.Hour},
		[]time.Duration{durations.Source.Interval, durations.Source.Timeout, durations.Drift.Interval}); diff != "" || durations.Drift.Heal {
		t.Errorf("durations, heal %t:\n%s", durations.Drift.Heal, diff)
	}
	for name, want := range map[string]nf.Size{"minimal.yaml": 256 * nf.MiB, "pack-size-unit.yaml": 2 * nf.GiB, "pack-size-number.yaml": nf.MiB, "pack-size-space.yaml": 512 * nf.MiB} {
		if got := read(name).Source.MaxPackSize; got != want {
			t.Errorf("%s: maxPackSize is %s", name, got)
		}
	}
	window := Window{Days: []time.Weekday{time.Friday, time.Saturday}, Start: 22 * time.Hour, End: 6*time.Hour + 30*time.Minute}
	if diff := cmp.Diff(&window, read("window.yaml").Restart.Window); diff != "" {
		t.Errorf("window:\n%s", diff)
	}
	for name, want := range map[string]GitSource{
		"tag.yaml":    {Tag: "v1.2.3"},
		"commit.yaml": {Commit: "0123456789abcdef0123456789abcdef01234567"},
		"branch.yaml": {Branch: "release/2026"},
		"token.yaml":  {Auth: GitAuth{TokenFile: "/run/secrets/token", Proxy: "socks5://127.0.0.1:1080/"}},
	} {
		if diff := cmp.Diff(want, read(name).Source, cmpopts.IgnoreFields(GitSource{}, "URLs", "Interval", "Timeout", "MaxPackSize")); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// beyondConfigSchema are the invalid configurations that the schema takes, and
// why it cannot do otherwise.
var beyondConfigSchema = map[string]string{
	"anchor.yaml":            "an editor's YAML reader drops anchors",
	"tag-scalar.yaml":        "an editor's YAML reader resolves tags",
	"empty.yaml":             "an editor sees no document",
	"second-document.yaml":   "a schema sees one document",
	"interval-fraction.yaml": "a schema cannot count the seconds of a text",
	"timeout-long.yaml":      "a schema cannot count the seconds of a text",
	"pack-size-range.yaml":   "a schema cannot count the bytes of a text",
	"pack-size-large.yaml":   "a schema cannot count the bytes of a text",
	"pack-size-float.yaml":   "1.5e9 is an integer to a schema",
	"publish-source.yaml":    "a schema cannot compare values",
	"window-empty.yaml":      "a schema cannot compare values",
	"url-port.yaml":          "a pattern of ports would be unreadable",
	"fleet-url-port.yaml":    "a pattern of ports would be unreadable",
	"proxy-port.yaml":        "a pattern of ports would be unreadable",
	"listen-port-large.yaml": "a pattern of ports would be unreadable",
}

// TestConfigSchemaAgrees holds the schema to take exactly the files that the
// parser takes, but for the ones above.
func TestConfigSchemaAgrees(t *testing.T) {
	schema := compile(t, "agentconfig.schema.json")
	for _, name := range append(glob(t, "testdata/agentconfig/ok/*.yaml"), exampleConfig) {
		if err := validate(schema, read(t, name)); err != nil {
			t.Errorf("%s: the schema refuses what the parser takes: %v", name, err)
		}
	}
	left := map[string]bool{}
	for name := range beyondConfigSchema {
		left[name] = true
	}
	for _, name := range glob(t, "testdata/agentconfig/err/*.yaml") {
		base := filepath.Base(name)
		_, excepted := beyondConfigSchema[base]
		delete(left, base)
		if err := validate(schema, read(t, name)); (err == nil) != excepted {
			t.Errorf("%s: excepted: %t, and the schema says %v", name, excepted, err)
		}
	}
	for name := range left {
		t.Errorf("%s is an exception and no file", name)
	}
}

// TestConfigSchemaKeys holds the schema to have the very keys of the parser,
// which it names where it meets an unknown one, and to describe each.
func TestConfigSchemaKeys(t *testing.T) {
	schema := compile(t, "agentconfig.schema.json")
	for _, path := range []string{"", "node", "source", "source.ssh", "source.http", "verify", "drift", "restart", "restart.window",
		"publish", "publish.ssh", "publish.http", "fleet"} {
		text := "NoSuchKey: 1"
		keys := strings.Split(path, ".")
		for _, key := range slices.Backward(keys) {
			if key != "" {
				text = key + ": {" + text + "}"
			}
		}
		_, found := ParseAgentConfig(File{Name: "x", Data: []byte("kind: AgentConfig\n" + text + "\n")})
		if diff := cmp.Diff(knownKeys(found), sortedKeys(t, schemaAt(schema, path))); diff != "" {
			t.Errorf("%q: parser and schema differ:\n%s", path, diff)
		}
	}
}

// FuzzAgentConfig holds the parser to end without a panic for any text, and
// its places to be inside.
func FuzzAgentConfig(f *testing.F) {
	for _, name := range append(glob(f, "testdata/agentconfig/*/*.yaml"), exampleConfig) {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		config, found := ParseAgentConfig(File{Name: "x", Data: data})
		for _, d := range found {
			inside(t, data, d.Line, d.Column, d.String())
		}
		if len(found) > 0 {
			return
		}
		if config.Source.Interval < time.Second || config.Source.Timeout < time.Second || config.Drift.Interval < time.Second ||
			config.Restart.MaxRestarts < 1 || config.Apply.Parallel < 1 || config.Mode == "" || config.Verify.Mode == "" || config.Listen == "" {
			t.Errorf("a value that cannot be: %+v", config)
		}
		if f := config.Fleet; f != nil && (len(f.Servers) == 0 || f.CredentialsFile == "" || f.Channel == "" || len(f.CoordinatorKey) != 56 || config.Source.Tag+config.Source.Commit != "") {
			t.Errorf("a fleet that cannot be: %+v", config)
		}
	})
}
