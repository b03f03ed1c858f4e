// Package internal_test holds the import table that ARCHITECTURE.md describes, as a test.
package internal_test

import (
	"bufio"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "nfsync.dev/nfsync/"

// rooms says what each room may import of ours. The words are below
// everything; deciding (spec, diff) and doing (kernel, netns, host) do not know
// each other and meet in apply and in the command.
var rooms = map[string][]string{
	"internal/nf":                    {},
	"internal/spec":                  {"internal/nf", "internal/openfile", "internal/policytree"},
	"internal/diff":                  {"internal/nf"},
	"internal/durable":               {},
	"internal/journal":               {},
	"internal/openfile":              {},
	"internal/policytree":            {"internal/nf", "internal/openfile"},
	"internal/state":                 {"internal/nf", "internal/durable", "internal/openfile"},
	"internal/state/statetest":       {},
	"internal/source":                {"internal/nf", "internal/openfile", "internal/policytree"},
	"internal/kernel":                {"internal/nf", "internal/durable"},
	"internal/netns":                 {"internal/nf", "internal/kernel"},
	"internal/vz":                    {"internal/nf", "internal/netns"},
	"internal/vz/vztest":             {"internal/nf"},
	"internal/runtimes":              {"internal/nf", "internal/netns", "internal/openfile"},
	"internal/runtimes/runtimestest": {"internal/netns"},
	"internal/host":                  {"internal/nf", "internal/kernel", "internal/netns", "internal/vz", "internal/runtimes"},
	"internal/host/hosttest":         {"internal/nf"},
	"internal/apply":                 {"internal/nf", "internal/diff", "internal/state", "internal/openfile"},
	"internal/adopt":                 {"internal/nf", "internal/spec", "internal/diff"},
	"internal/view":                  {"internal/nf", "internal/spec", "internal/diff", "internal/apply", "internal/adopt"},
	"internal/agent":                 {"internal/nf", "internal/spec", "internal/state", "internal/apply", "internal/source", "internal/rollout"},
	"internal/rollout":               {"internal/nf"},
	"internal/overview":              {"internal/nf", "internal/rollout"},
	"internal/fleet":                 {"internal/nf", "internal/openfile"},
	"internal/fleet/fleettest":       {"internal/nf", "internal/fleet"},
	"internal/engine":                {"internal/nf", "internal/fleet", "internal/durable", "internal/openfile"},
	"internal/coordinator":           {"internal/nf", "internal/rollout", "internal/fleet", "internal/source", "internal/state", "internal/agent", "internal/web"}, // of web the bounds and the look of a page
	"internal/review":                {"internal/nf", "internal/spec", "internal/diff", "internal/apply"},
	"internal/policytest":            {"internal/nf", "internal/spec", "internal/diff", "internal/apply"},
	"internal/watch":                 {},
	"internal/web":                   {"internal/nf", "internal/openfile", "internal/apply", "internal/agent", "internal/view"},
	"internal/doctor":                {"internal/nf", "internal/spec", "internal/state", "internal/kernel", "internal/vz", "internal/apply", "internal/source", "internal/agent", "internal/fleet", "internal/view", "internal/web"},
	"internal/words":                 {"internal/nf", "internal/spec", "internal/diff", "internal/kernel", "internal/apply", "internal/agent", "internal/view", "schemas"},
	"internal/manual":                {"schemas"},
	"internal/demo":                  {"internal/nf", "internal/netns", "internal/source", "examples"},
	"cmd/nfsync": {"internal/doctor", "internal/demo", "internal/nf", "internal/policytree", "internal/spec", "internal/durable", "internal/state", "internal/kernel", "internal/netns",
		"internal/host", "internal/runtimes", "internal/apply", "internal/view", "internal/source", "internal/agent", "internal/overview", "internal/openfile", "internal/review", "internal/adopt", "internal/policytest", "internal/watch", "internal/web", "internal/words", "internal/manual", "internal/fleet", "schemas", "examples", "internal/journal"},
	"cmd/nfsync-coordinator": {"internal/nf", "internal/spec", "internal/fleet", "internal/engine", "internal/coordinator", "internal/source", "internal/agent", "internal/durable", "internal/openfile", "internal/manual", "internal/view", "examples", "internal/journal"},
	"bench": {"bench/bare", "internal/nf", "internal/spec", "internal/diff", "internal/kernel", "internal/netns", "internal/host", "internal/apply",
		"internal/vz/vztest", "internal/fleet", "internal/engine"}, // parts of nfsync, measured without its start, and scenes
	"bench/bare":            {},
	"bench/floor":           {"bench/bare"},
	"packaging/release":     {},
	"packaging/systemdtest": {},
	"examples":              {},
	"schemas":               {},
}

// testRooms says what the tests of a room may import beside what the room may.
var testRooms = map[string][]string{
	"internal/coordinator":      {"internal/fleet/fleettest"},                                                                                                                                                                                                    // a fleet's store
	"internal/fleet":            {"internal/fleet/fleettest"},                                                                                                                                                                                                    // a store, in this process
	"internal/runtimes":         {"internal/runtimes/runtimestest", "internal/kernel"},                                                                                                                                                                           // processes and files of runtimes, threads of another user
	"internal/vz":               {"internal/vz/vztest"},                                                                                                                                                                                                          // a Virtuozzo node, simulated
	"cmd/nfsync":                {"internal/vz/vztest", "internal/runtimes/runtimestest", "internal/state/statetest", "internal/fleet/fleettest", "internal/rollout", "internal/engine", "internal/coordinator"},                                                 // the same, driven by scripts; a disk that loses power; a fleet's store, and a whole fleet
	"internal/host/hosttest":    {"internal/diff"},                                                                                                                                                                                                               // what was seen of tracking is judged
	"internal/host":             {"internal/host/hosttest", "internal/vz/vztest", "internal/runtimes/runtimestest", "internal/diff"},                                                                                                                             // the conformance suite; nodes with containers; what was seen of tracking is judged
	"internal/durable":          {"internal/state/statetest"},                                                                                                                                                                                                    // a disk that loses power
	"internal/state":            {"internal/state/statetest"},                                                                                                                                                                                                    // the same
	"internal/kernel":           {"internal/state/statetest"},                                                                                                                                                                                                    // the same, under boot files
	"internal/apply":            {"internal/host/hosttest", "internal/state/statetest"},                                                                                                                                                                          // crashes and faults on the in-memory machine
	"internal/agent":            {"internal/host/hosttest", "internal/state/statetest", "internal/policytree"},                                                                                                                                                   // laps of the in-memory machine
	"internal/agent/fleetscale": {"internal/agent", "internal/apply", "internal/coordinator", "internal/engine", "internal/fleet", "internal/host/hosttest", "internal/nf", "internal/rollout", "internal/source", "internal/state", "internal/state/statetest"}, // many agents, a server and a coordinator
	"internal/review":           {"internal/host/hosttest"},                                                                                                                                                                                                      // snapshots of the in-memory machine
	"internal/adopt":            {"internal/view"},                                                                                                                                                                                                               // what is imported, as files have it
	"packaging":                 {"packaging/systemdtest"},                                                                                                                                                                                                       // a node that packages are installed on
	"internal/spec":             {"schemas"},                                                                                                                                                                                                                     // what is shared by two schemas
	"internal/view":             {"schemas"},                                                                                                                                                                                                                     // the documents against the schemas
	"runtimes":                  {"packaging/systemdtest"},                                                                                                                                                                                                       // nodes with real container runtimes
	"packaging/systemd":         {"packaging/systemdtest"},                                                                                                                                                                                                       // the units on a node with systemd
}

// a library that has one room, or few, has them for the reason given. Rooms are those
// whose code may import it; tests are those where only tests may.
var libraries = map[string]struct {
	rooms  []string
	tests  []string
	reason string
}{
	"gopkg.in/yaml.v3": {rooms: []string{"internal/spec", "internal/view", "bench/floor"}, // a floor is the parser alone
		tests:  []string{"cmd/nfsync", "packaging/prometheus"}, // the steps of CI files; documents; alerts
		reason: "archived: decoded behind one guard in spec and encoded in one file of view, it can be replaced by changing import paths"},
	"github.com/pmorjan/kmod": {rooms: []string{"internal/kernel"},
		reason: "its nil proves nothing and its Unload takes too much: one room knows"},
	"github.com/mdlayher/netlink": {rooms: []string{"internal/kernel", "internal/demo"},
		reason: "a socket belongs to the namespace of the thread that opened it: the kernel's room asks, the demo's makes one rule"},
	"golang.org/x/sys/unix": {rooms: []string{"cmd/nfsync", "internal/engine", "internal/kernel", "internal/netns", "internal/apply", "internal/state", "internal/source", "internal/vz", "internal/vz/vztest", "internal/runtimes", "internal/runtimes/runtimestest", "internal/demo", "internal/openfile", "internal/watch", "internal/web", "bench", "bench/bare", "packaging/systemdtest"},
		tests:  []string{"internal/host", "vm"},
		reason: "system calls stay at the edges; in the demo they are its mounts, in source locks and limits, in bench its floors"},
	"golang.org/x/term": {rooms: []string{"cmd/nfsync"},
		reason: "only the command knows whether it talks to a person"},
	"github.com/spf13/cobra": {rooms: []string{"cmd/nfsync", "cmd/nfsync-coordinator", "internal/manual"},
		reason: "flags are the commands', and the manual has them"},
	"github.com/hashicorp/go-multierror": {rooms: []string{"internal/apply"},
		reason: "where many independent things fail at once, each failure is reported"},
	"github.com/klauspost/compress": {rooms: []string{"internal/kernel", "internal/fleet"},
		reason: "modules that the kernel cannot decompress itself; snapshots on their way"},
	"github.com/nats-io/nats.go": {rooms: []string{"internal/fleet", "internal/fleet/fleettest", "internal/coordinator", "internal/engine", "cmd/nfsync-coordinator", "bench"},
		tests:  []string{"cmd/nfsync", "internal/agent/fleetscale"}, // a coordinator that answers; what is seen of a store
		reason: "its defaults give up, send old values again and wait for minutes: one room has the options"},
	"github.com/nats-io/nkeys": {rooms: []string{"internal/fleet", "internal/fleet/fleettest", "internal/coordinator", "internal/engine", "cmd/nfsync-coordinator"},
		reason: "the keys that sign documents and that identify users"},
	"github.com/nats-io/jwt": {rooms: []string{"internal/engine"},
		reason: "credentials of nodes, readers and operators"},
	"github.com/nats-io/nats-server": {rooms: []string{"internal/engine", "internal/fleet/fleettest"},
		tests:  []string{"internal/fleet"},
		reason: "the engine of the coordinator; nodes do not carry it"},
	"github.com/ulikunitz/xz": {rooms: []string{"internal/kernel"},
		reason: "modules that the kernel cannot decompress itself"},
	"github.com/cyphar/filepath-securejoin": {rooms: []string{"internal/kernel"},
		reason: "links in the boot files of a node that is mounted elsewhere"},
	"golang.org/x/text": {rooms: []string{"internal/view"},
		reason: "only what lays out text asks how wide a character is"},
	"github.com/spf13/pflag": {rooms: []string{"cmd/nfsync", "internal/manual"},
		reason: "flags are the command's, and the manual has them"},
	"github.com/rogpeppe/go-internal/testscript": {tests: []string{"cmd/nfsync", "cmd/nfsync-coordinator"},
		reason: "scripts drive the real programs, and only them"},
	"github.com/rogpeppe/go-internal/diff": {rooms: []string{"cmd/nfsync"},
		reason: "the differences that fmt --diff prints"},
	"github.com/rogpeppe/go-internal/txtar": {tests: []string{"internal/kernel"},
		reason: "small trees of files, such as a kernel's, in one file that can be read"},
	"github.com/santhosh-tekuri/jsonschema": {tests: []string{"internal/spec", "internal/view", "schemas", "cmd/nfsync"},
		reason: "the program checks with its own parser; tests hold the published schemas against it"},
	"github.com/owenrumney/go-sarif": {tests: []string{"internal/view"},
		reason: "it has the schema of SARIF, and reads it; nfsync writes the few parts that it needs itself"},
	"pgregory.net/rapid": {tests: []string{"internal/nf", "internal/rollout", "internal/spec", "internal/review", "internal/adopt", "internal/policytest", "internal/diff", "internal/apply", "internal/view", "internal/agent"},
		reason: "properties are for what decides and for what must survive a crash"},
	"github.com/go-git/go-git": {rooms: []string{"internal/source", "internal/policytree"},
		reason: "it follows what a server says: one room holds the bounds that it lacks; policytree reads the format of .gitmodules"},
	"github.com/go-git/go-billy": {rooms: []string{"internal/source"},
		reason: "how go-git reads files"},
	"golang.org/x/crypto": {rooms: []string{"internal/source"},
		reason: "keys of hosts and signers"},
	"google.golang.org/protobuf": {rooms: []string{"internal/runtimes"},
		reason: "the fields of one message of CRI; the rest of gRPC is net/http's"},
	"golang.org/x/net": {rooms: []string{"internal/source"},
		reason: "proxies"},
	"github.com/ProtonMail/go-crypto": {rooms: []string{"internal/source"},
		reason: "signatures of commits"},
	"github.com/hiddeco/sshsig": {rooms: []string{"internal/source"},
		reason: "signatures of commits"},
	"github.com/skeema/knownhosts": {rooms: []string{"internal/source"},
		reason: "keys of hosts, several kinds a host"},
	"os/exec": {rooms: []string{"internal/demo", "internal/source", "internal/vz", "internal/vz/vztest", "internal/runtimes/runtimestest", "cmd/nfsync", "bench", "packaging/release", "packaging/systemdtest"},
		tests:  []string{"packaging", "packaging/systemd", "internal/engine", "internal/manual", "internal/kernel", "internal/netns", "internal/runtimes", "internal/host", "internal/apply", "internal/state", "internal/policytree", "internal/web", "internal/view", "internal/coordinator", "cmd/nfsync-coordinator", "vm", "runtimes", "packaging/prometheus"},
		reason: "nfsync asks the kernel itself; the demo, the fetch and an apply that is to be confirmed run a program, and it is nfsync; Virtuozzo has its tools; bench measures programs; a node of a test has systemd; a release is made by Go, git and nfpm"},
	"net/http": {rooms: []string{"internal/source", "internal/web", "internal/coordinator", "internal/runtimes", "bench"},
		tests:  []string{"cmd/nfsync", "cmd/nfsync-coordinator", "runtimes"},
		reason: "what fetches speaks to a network, and what answers people and Prometheus; container runtimes are asked on their sockets; bench serves a repository; a test speaks to containerd"},
	"github.com/spdx/tools-golang": {rooms: []string{"packaging/release"},
		tests:  []string{"packaging"},
		reason: "the SBOMs of a release"},
	"github.com/google/licensecheck": {rooms: []string{"packaging/release"},
		reason: "the licences of the modules in an SBOM"},
	"github.com/fsnotify/fsnotify": {rooms: []string{"internal/watch"},
		reason: "its events are hints: one room knows what they miss"},
	"github.com/chromedp": {tests: []string{"internal/web"},
		reason: "a browser that looks at the status page"},
	"github.com/prometheus/client_golang": {rooms: []string{"internal/web", "internal/coordinator"},
		reason: "metrics"},
	"github.com/prometheus/client_model": {rooms: []string{"internal/web"},
		tests:  []string{"cmd/nfsync"},
		reason: "the type of what client_golang gathers"},
	"github.com/coreos/go-systemd": {rooms: []string{"cmd/nfsync", "cmd/nfsync-coordinator", "internal/journal"},
		reason: "only the commands know their service manager"},
}

// TestImports holds every file against the two tables.
func TestImports(t *testing.T) {
	for _, f := range sources(t) {
		for _, imported := range f.imports {
			if own, ok := strings.CutPrefix(imported, module); ok {
				f.checkRoom(t, own)
				continue
			}
			f.checkLibrary(t, imported)
		}
	}
}

// TestNoPermitIsStale fails where a room may import another one, and does not, and where
// its tests may what the room may already.
func TestNoPermitIsStale(t *testing.T) {
	used := map[string]bool{}
	for _, f := range sources(t) {
		for _, imported := range f.imports {
			used[fmt.Sprint(f.test, f.room, strings.TrimPrefix(imported, module))] = true
		}
	}
	for test, table := range map[bool]map[string][]string{false: rooms, true: testRooms} {
		for room, permits := range table {
			for _, p := range permits {
				if !used[fmt.Sprint(test, room, p)] || test && slices.Contains(rooms[room], p) {
					t.Errorf("stale: %s may import %s (tests: %v)", room, p, test)
				}
			}
		}
	}
}

// TestNoLibraryIsStale fails where a library may be imported by a room or by its
// tests, and is not, and where its tests may what the room may already.
func TestNoLibraryIsStale(t *testing.T) {
	used := map[string]bool{}
	for _, f := range sources(t) {
		for _, imported := range f.imports {
			if library, ok := libraryOf(imported); ok {
				used[fmt.Sprint(f.test, f.room, library)] = true
			}
		}
	}
	for library, l := range libraries {
		for test, permits := range map[bool][]string{false: l.rooms, true: l.tests} {
			for _, room := range permits {
				if !used[fmt.Sprint(test, room, library)] || test && slices.Contains(l.rooms, room) {
					t.Errorf("stale: %s may import %s (tests: %v)", room, library, test)
				}
			}
		}
		if len(l.rooms)+len(l.tests) == 0 {
			t.Errorf("nothing may import %s", library)
		}
	}
}

// libraryOf returns the library of the table that an import belongs to.
func libraryOf(imported string) (string, bool) {
	for library := range libraries {
		if imported == library || strings.HasPrefix(imported, library+"/") {
			return library, true
		}
	}
	return "", false
}

// TestNoRoomIsForgotten fails where a room has no line in the table, or a line
// no room: a new room comes with its line, and with one in ARCHITECTURE.md.
func TestNoRoomIsForgotten(t *testing.T) {
	found := map[string]bool{}
	for _, f := range sources(t) {
		found[f.room] = true
		if _, ok := rooms[f.room]; !ok && !f.test {
			t.Errorf("%s: the room %s is not in the import table", f.path, f.room)
		}
	}
	for room := range rooms {
		if !found[room] {
			t.Errorf("the import table names %s, which does not exist", room)
		}
	}
}

// TestFilesAreSmall keeps a file a thing that can be read in one sitting.
func TestFilesAreSmall(t *testing.T) {
	const most = 600
	for _, f := range sources(t) {
		if f.lines > most {
			t.Errorf("%s has %d lines; more than %d are too many to read at once", f.path, f.lines, most)
		}
	}
}

type source struct {
	path    string // below the module's root
	room    string
	test    bool
	imports []string
	lines   int
}

func (f source) checkRoom(t *testing.T, imported string) {
	t.Helper()
	if imported == f.room || slices.Contains(rooms[f.room], imported) {
		return
	}
	if f.test && slices.Contains(testRooms[f.room], imported) {
		return
	}
	t.Errorf("%s imports %s, which %s may not", f.path, imported, f.room)
}

func (f source) checkLibrary(t *testing.T, imported string) {
	t.Helper()
	library, known := libraryOf(imported)
	l := libraries[library]
	first, _, _ := strings.Cut(imported, "/")
	switch {
	case known && (slices.Contains(l.rooms, f.room) || f.test && slices.Contains(l.tests, f.room)):
	case known:
		t.Errorf("%s imports %s, which belongs to %s: %s", f.path, imported, strings.Join(append(slices.Clone(l.rooms), l.tests...), ", "), l.reason)
	case strings.Contains(first, ".") && !f.test:
		t.Errorf("%s imports %s, which has no line in the table of libraries", f.path, imported)
	}
}

func sources(t *testing.T) []source {
	t.Helper()
	const root = ".."
	var list []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != root || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if rel == "internal/layout_test.go" {
			return nil
		}
		list = append(list, parse(t, name, filepath.ToSlash(rel)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 20 {
		t.Fatalf("found %d source files: is this the module's root?", len(list))
	}
	return list
}

func parse(t *testing.T, name, rel string) source {
	t.Helper()
	f := source{path: rel, room: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go")}
	parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range parsed.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		f.imports = append(f.imports, p)
	}
	f.lines = countLines(t, name)
	return f
}

func countLines(t *testing.T, name string) int {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := 0
	for s := bufio.NewScanner(file); s.Scan(); {
		lines++
	}
	return lines
}
