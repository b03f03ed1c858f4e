package spec

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/schemas"
)

const exampleCoordinator = "../../examples/coordinator.yaml"

// TestCoordinatorErrors holds every invalid configuration to its exact messages, hints and places.
func TestCoordinatorErrors(t *testing.T) {
	files := glob(t, "testdata/coordinator/err/*.yaml")
	if len(files) < 30 {
		t.Fatalf("only %d invalid files", len(files))
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			config, found := ParseCoordinatorConfig(File{Name: filepath.Base(name), Data: read(t, name)})
			if len(found) == 0 {
				t.Fatal("it was taken")
			}
			if diff := cmp.Diff(CoordinatorConfig{}, config); diff != "" {
				t.Errorf("a configuration beside errors:\n%s", diff)
			}
			text := format(found)
			if strings.Contains(text, "hunter2") {
				t.Errorf("a secret is repeated in\n%s", text)
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".out", text)
		})
	}
}

func coordinatorConfig(t *testing.T, text []byte) CoordinatorConfig {
	t.Helper()
	config, found := ParseCoordinatorConfig(File{Name: "x.yaml", Data: text})
	if len(found) > 0 {
		t.Fatalf("refused:\n%s\n%s", text, format(found))
	}
	return config
}

// TestCoordinatorValues holds every value to arrive, and what is omitted to have its default.
func TestCoordinatorValues(t *testing.T) {
	source := GitSource{URLs: []string{"https://git.example.com/p.git"}, Interval: time.Minute, Timeout: time.Minute, MaxPackSize: 256 * nf.MiB}
	plain := CoordinatorConfig{Channel: "main", Source: source, Verify: Verification{Mode: VerifyNone}, Listen: "127.0.0.1:9470",
		Engine: Engine{Listen: "127.0.0.1:4222"}, Directory: "/var/lib/nfsync-coordinator"}
	all := CoordinatorConfig{
		Name: "coordinator-1.example.com", Channel: "production",
		Source: GitSource{
			URLs: []string{"https://git.example.com/p.git", "/srv/p.git"}, Branch: "main", Path: "policies", AllowEmpty: true,
			Interval: 30 * time.Second, Timeout: 2 * time.Minute, MaxPackSize: 64 * nf.MiB, Auth: GitAuth{SSHKeyFile: "/k", TokenFile: "/t"},
		},
		Verify: Verification{Mode: VerifyAll, AllowedSigners: []string{"/etc/nfsync/allowed_signers"}}, Listen: ListenNone,
		Engine:    Engine{Listen: "0.0.0.0:4222", CertFile: "/etc/nfsync/server.crt", KeyFile: "/etc/nfsync/server.key"},
		Directory: "/srv/nfsync-coordinator",
	}
	servers, webSockets, secured := plain, plain, plain
	servers.Engine = Engine{Servers: []string{"tls://a.example.com:4222", "nats://127.0.0.1:4223"}, CredentialsFile: "/c", CAFile: "/ca"}
	webSockets.Engine = Engine{Servers: []string{"wss://a.example.com", "ws://localhost:80", "ws://[::1]:80"}, CredentialsFile: "/c"}
	secured.Engine = Engine{Listen: DefaultEngineListen, CertFile: "/c", KeyFile: "/k"}
	for name, want := range map[string]CoordinatorConfig{"minimal": plain, "engine-empty": plain, "all": all, "servers": servers, "web-sockets": webSockets, "tls-on-loopback": secured} {
		got := coordinatorConfig(t, read(t, "testdata/coordinator/ok/"+name+".yaml"))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if got.Engine.IsEmbedded() == (len(got.Engine.Servers) > 0) {
			t.Errorf("%s: embedded: %t", name, got.Engine.IsEmbedded())
		}
	}
}

// TestCoordinatorExample: the example is valid, as it is and with all its comments made keys that may be together.
func TestCoordinatorExample(t *testing.T) {
	coordinatorConfig(t, read(t, exampleCoordinator))
	got := coordinatorConfig(t, []byte(uncommented(string(read(t, exampleCoordinator)))))
	want := CoordinatorConfig{
		Name: "coordinator-1", Channel: "main",
		Source: GitSource{
			URLs: []string{"https://git.example.com/netfilter/policies.git"}, Branch: "main", Path: "policies",
			Interval: time.Minute, Timeout: time.Minute, MaxPackSize: 256 * nf.MiB, Auth: GitAuth{TokenFile: "/etc/nfsync-coordinator/token"},
		},
		Verify:    Verification{Mode: VerifyAll, AllowedSigners: []string{"/etc/nfsync-coordinator/allowed_signers"}},
		Listen:    "127.0.0.1:9470",
		Engine:    Engine{Listen: "0.0.0.0:4222", CertFile: "/etc/nfsync-coordinator/server.crt", KeyFile: "/etc/nfsync-coordinator/server.key"},
		Directory: "/var/lib/nfsync-coordinator",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// beyondCoordinatorSchema are the invalid configurations that the schema takes, and why it cannot do otherwise.
var beyondCoordinatorSchema = map[string]string{
	"empty.yaml":              "an editor sees no document",
	"second-document.yaml":    "a schema sees one document",
	"engine-listen-port.yaml": "a pattern of ports would be unreadable",
}

// TestCoordinatorSchema holds the schema to take exactly the files that the parser takes, but for the ones above.
func TestCoordinatorSchema(t *testing.T) {
	schemaAgrees(t, "coordinator", append(glob(t, "testdata/coordinator/ok/*.yaml"), exampleCoordinator), beyondCoordinatorSchema)
}

// TestCoordinatorSchemaKeys holds the schema to have the very keys of the parser, and to describe each.
func TestCoordinatorSchemaKeys(t *testing.T) {
	schema := compile(t, "coordinatorconfig.schema.json")
	for path, text := range map[string]string{
		"": "NoSuchKey: 1", "source": "source: {NoSuchKey: 1}", "source.ssh": "source: {ssh: {NoSuchKey: 1}}", "source.http": "source: {http: {NoSuchKey: 1}}",
		"verify": "verify: {NoSuchKey: 1}", "engine": "engine: {NoSuchKey: 1}", "engine.tls": "engine: {tls: {NoSuchKey: 1}}",
	} {
		_, found := ParseCoordinatorConfig(File{Name: "x", Data: []byte("kind: CoordinatorConfig\n" + text + "\n")})
		if diff := cmp.Diff(knownKeys(found), sortedKeys(t, schemaAt(schema, path))); diff != "" {
			t.Errorf("%q: parser and schema differ:\n%s", path, diff)
		}
	}
}

// TestSharedDefinitions: what the schemas of both configurations have is the same in both.
func TestSharedDefinitions(t *testing.T) {
	definitions := func(kind string) map[string]json.RawMessage {
		var s struct {
			Definitions map[string]json.RawMessage `json:"definitions"`
		}
		text, _ := schemas.Get(kind)
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		return s.Definitions
	}
	agent := definitions(nf.KindAgentConfig)
	for name, text := range definitions(nf.KindCoordinatorConfig) {
		if !bytes.Equal(text, agent[name]) {
			t.Errorf("%s differs:\n%s\n%s", name, text, agent[name])
		}
	}
}

// FuzzCoordinatorConfig holds the parser to end without a panic for any text, its places to be inside, and what it takes to be whole.
func FuzzCoordinatorConfig(f *testing.F) {
	for _, name := range append(glob(f, "testdata/coordinator/*/*.yaml"), exampleCoordinator) {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		config, found := ParseCoordinatorConfig(File{Name: "x", Data: data})
		for _, d := range found {
			inside(t, data, d.Line, d.Column, d.String())
		}
		if len(found) > 0 {
			return
		}
		e := config.Engine
		if len(config.Source.URLs) == 0 || config.Source.Tag+config.Source.Commit != "" || config.Directory == "" || config.Listen == "" || config.Channel == "" ||
			e.IsEmbedded() == (len(e.Servers) > 0) || (e.CertFile == "") != (e.KeyFile == "") || !e.IsEmbedded() && e.CredentialsFile == "" {
			t.Errorf("a value that cannot be: %+v", config)
		}
	})
}
