package spec

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// requiredAt names one place of each key that a document must have.
var requiredAt = map[string]string{
	"Snapshot.apiVersion": "apiVersion", "Snapshot.kind": "kind", "Snapshot.node": "node", "Snapshot.bootID": "bootID",
	"Snapshot.kernel": "kernel", "Snapshot.capabilities": "capabilities", "Snapshot.modules": "modules",
	"Snapshot.host": "host", "Snapshot.containers": "containers", "NodeIdentity.name": "node.name",
	"Kernel.release": "kernel.release", "Capabilities.latches": "capabilities.latches",
	"Capabilities.masks": "capabilities.masks", "Modules.support": "modules.support",
	"Modules.complete": "modules.complete", "Modules.list": "modules.list", "ModuleFact.name": "modules.list[1].name",
	"ModuleFact.state": "modules.list[1].state", "Parameter.value": "modules.list[0].parameters.max_sets.value",
	"Namespace.facts": "host.facts", "Fact.key": "host.facts[0].key", "Fact.live": "host.facts[0].live",
	"Tracking.state": "host.tracking.state", "Rules.tables": "host.rules.tables",
	"Table.backend": "host.rules.tables[0].backend", "Table.family": "host.rules.tables[0].family",
	"Table.name": "host.rules.tables[0].name", "Table.rules": "host.rules.tables[0].rules",
	"Use.what": "host.rules.tables[0].uses[0].what", "Container.runtime": "containers[0].runtime", "Container.id": "containers[0].id",
	"Container.state": "containers[0].state", "Container.instance": "containers[0].instance",
	"Target.kind": "warnings[0].target.kind", "MemoryKey.target": "memory.keys[0].target",
	"MemoryKey.key": "memory.keys[0].key", "MemoryKey.asked": "memory.keys[0].asked",
	"MemoryKey.applied": "memory.keys[0].applied", "Latch.target": "memory.latches[0].target",
	"Latch.instance": "memory.latches[0].instance", "RestartDone.target": "memory.restarts[0].target",
	"RestartDone.asked": "memory.restarts[0].asked", "RestartDone.instance": "memory.restarts[0].instance",
	"Keepers.level": "host.keepers.level", "Keepers.limit": "host.keepers.limit",
}

// TestRequired removes each required key from a valid document: a diagnostic
// names the key and the mapping that lacks it.
func TestRequired(t *testing.T) {
	for id := range required {
		if requiredAt[id] == "" {
			t.Errorf("no row removes %s", id)
		}
	}
	for _, path := range requiredAt {
		found := snapshotErrors(changed(t, read(t, "testdata/snapshot.json"), path, func(m map[string]any, key string) { delete(m, key) }))
		parent, key := split(path)
		want := `missing key "` + key + `" in ` + place(parent)
		switch path {
		case "apiVersion", "kind":
			want = `missing key "` + key + `": this is not a `
		}
		if len(found) != 1 || !strings.HasPrefix(found[0].Message, want) {
			t.Errorf("without %s: got %v, want %s", path, found, want)
		}
	}
}

// TestUnknownUse: a use without a level is one that nfsync does not know.
func TestUnknownUse(t *testing.T) {
	text := changed(t, read(t, "testdata/snapshot.json"), "host.rules.tables[0].uses[0].level", func(m map[string]any, key string) { delete(m, key) })
	s, found := ParseSnapshot(File{Name: "s", Data: text})
	if len(found) > 0 || s.Host.Rules.UnknownUses() == "" {
		t.Errorf("%v: %+v", found, s.Host.Rules)
	}
}

// TestWords puts a word that no version knows in each place where only some are
// allowed: a diagnostic names the place and those words.
func TestWords(t *testing.T) {
	rows := map[string]struct{ path, allowed string }{
		"Keepers.level":        {"host.keepers.level", "mask, nobody, unknown"},
		"Keepers.limit":        {"host.keepers.limit", "kernel, nobody"},
		"Capabilities.latches": {"capabilities.latches", "yes, no, unknown"},
		"Modules.support":      {"modules.support", "loadable, none, locked"},
		"ModuleFact.state":     {"modules.list[1].state", "loaded, unloaded, builtin"},
		"Tracking.state":       {"host.tracking.state", "on, off, unknown"},
		"Use.level":            {"host.rules.tables[0].uses[0].level", "disabled, stateless, stateful, full"},
		"Container.maxScope":   {"containers[0].maxScope", "own, node, unknown, "},
		"RestartDone.state":    {"memory.restarts[0].state", "begun, made, "},
		"Target.kind":          {"warnings[0].target.kind", "node, container"},
	}
	for id := range words {
		if rows[id].path == "" {
			t.Errorf("no row changes %s", id)
		}
	}
	for _, row := range rows {
		found := snapshotErrors(changed(t, read(t, "testdata/snapshot.json"), row.path, func(m map[string]any, key string) { m[key] = "perhaps" }))
		want := row.path + " must be one of " + row.allowed + `, not the text "perhaps"`
		if len(found) != 1 || found[0].Message != want {
			t.Errorf("got %v, want %s", found, want)
		}
	}
}

func snapshotErrors(text []byte) []Diagnostic {
	_, found := ParseSnapshot(File{Name: "s", Data: text})
	return found
}

var index = regexp.MustCompile(`\[(\d+)\]`)

// changed is a JSON document after an edit of the mapping that holds the key at
// a path such as host.facts[0].live.
func changed(t *testing.T, text []byte, path string, edit func(m map[string]any, key string)) []byte {
	t.Helper()
	var document any
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	parent, key := split(path)
	at := document
	for _, step := range strings.FieldsFunc(index.ReplaceAllString(parent, ".$1"), func(r rune) bool { return r == '.' }) {
		if list, ok := at.([]any); ok {
			i, _ := strconv.Atoi(step)
			at = list[i]
			continue
		}
		at = at.(map[string]any)[step]
	}
	m, _ := at.(map[string]any)
	if _, ok := m[key]; !ok {
		t.Fatalf("the document has no %s", path)
	}
	edit(m, key)
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// split cuts a path into that of the mapping and the key in it.
func split(path string) (parent, key string) {
	i := strings.LastIndexByte(path, '.')
	return path[:max(i, 0)], path[i+1:]
}
