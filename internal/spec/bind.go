package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// binder fills Go values from a document by their json names, as encoding/json
// does, but with the place of every error. Keys that it does not know are left
// out: a newer nfsync may have written them.
type binder struct {
	found *diagnostics
	// fieldsOf caches the fields of each type.
	fieldsOf map[reflect.Type][]jsonField
}

// keyPath is where a value is in a document. It is put into words only for an error.
type keyPath struct {
	above *keyPath
	name  string // of a key
	index int    // of an entry of a list; -1: a key
}

// document is the path of the whole document.
var document *keyPath

func (p *keyPath) key(name string) *keyPath { return &keyPath{above: p, name: name, index: -1} }

func (p *keyPath) item(i int) *keyPath { return &keyPath{above: p, index: i} }

func (p *keyPath) String() string {
	switch {
	case p == nil:
		return ""
	case p.index >= 0:
		return p.above.String() + "[" + strconv.Itoa(p.index) + "]"
	}
	return below(p.above.String(), p.name)
}

type jsonField struct {
	name     string // the key; empty for an embedded struct, whose keys are among those of its parent
	index    int
	required bool
	words    []string // what a text may be; nil: anything
}

// required are the keys that must exist: without them a value that is not known would
// read as absent or off. The keys that say which document it is are checked first
// (isSnapshot).
var required = map[string]bool{
	"Snapshot.node": true, "Snapshot.bootID": true, "Snapshot.kernel": true, "Snapshot.capabilities": true,
	"Snapshot.modules": true, "Snapshot.host": true, "Snapshot.containers": true,
	"NodeIdentity.name": true, "Kernel.release": true, "Capabilities.latches": true,
	"Capabilities.masks": true, "Modules.support": true, "Modules.complete": true, "Modules.list": true,
	"ModuleFact.name": true, "ModuleFact.state": true, "Namespace.facts": true, "Fact.key": true, "Fact.live": true,
	"Keepers.level": true, "Keepers.limit": true,
	"Tracking.state": true, "Rules.tables": true, "Table.backend": true, "Table.family": true, "Table.name": true,
	"Table.rules": true, "Use.what": true, "Parameter.value": true,
	"Container.runtime": true, "Container.id": true, "Container.state": true, "Container.instance": true,
	"Target.kind": true, "MemoryKey.target": true, "MemoryKey.key": true, "MemoryKey.asked": true,
	"MemoryKey.applied": true, "Latch.target": true, "Latch.instance": true,
	"RestartDone.target": true, "RestartDone.asked": true, "RestartDone.instance": true,
}

// words are the texts that a key may have, if it may not have any text.
var words = map[string][]string{
	"Capabilities.latches": {nf.Yes, nf.No, nf.MaybeUnknown},
	"Modules.support":      {nf.SupportLoadable, nf.SupportNone, nf.SupportLocked},
	"ModuleFact.state":     {nf.ModuleLoaded, nf.ModuleUnloaded, nf.ModuleBuiltin},
	"Keepers.level":        {nf.KeeperMask, nf.KeeperNobody, nf.KeeperUnknown},
	"Keepers.limit":        {nf.KeeperKernel, nf.KeeperNobody},
	"Tracking.state":       {nf.TrackingOn, nf.TrackingOff, nf.TrackingUnknown},
	"Container.maxScope":   {nf.ScopeOwn, nf.ScopeNode, nf.ScopeUnknown, ""},
	"RestartDone.state":    {nf.RestartBegun, nf.RestartMade, ""},
	"Target.kind":          {nf.TargetNode, nf.TargetContainer},
}

func (b *binder) fields(t reflect.Type) []jsonField {
	if known, ok := b.fieldsOf[t]; ok {
		return known
	}
	var list []jsonField
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || name == "" && !f.Anonymous {
			continue
		}
		id := t.Name() + "." + name
		list = append(list, jsonField{name: name, index: i, required: required[id], words: words[id]})
	}
	b.fieldsOf[t] = list
	return list
}

func (b *binder) wrong(rule Rule, n *node, path *keyPath, must string) {
	b.found.add(rule, int(n.line), int(n.column), fmt.Sprintf("%s must be %s, not %s", place(path.String()), must, n), "")
}

// kinds are the values of a document from which a Go value is filled.
var kinds = map[reflect.Kind]struct {
	kind nodeKind
	must string
}{
	reflect.Struct: {nodeMapping, "a mapping"},
	reflect.Map:    {nodeMapping, "a mapping"},
	reflect.Slice:  {nodeList, "a list"},
	reflect.String: {nodeText, "a text"},
	reflect.Bool:   {nodeBool, "true or false"},
}

// bind fills v from n. Null leaves lists, mappings and pointers empty.
func (b *binder) bind(path *keyPath, n *node, v reflect.Value) {
	switch to := v.Addr().Interface().(type) {
	case *nf.Value:
		*to = b.value(path, n)
	case *nf.Wish:
		*to = b.wish(path, n)
	case *nf.Level:
		*to = b.level(path, n)
	case *time.Time:
		*to = b.time(path, n)
	default:
		b.fill(path, n, v)
	}
}

// fill fills v by its kind.
func (b *binder) fill(path *keyPath, n *node, v reflect.Value) {
	kind := v.Kind()
	want, fixed := kinds[kind]
	switch {
	case n.kind == nodeNull && (kind == reflect.Map || kind == reflect.Slice):
		return
	case fixed && n.kind != want.kind:
		b.wrong(RuleWrongType, n, path, want.must)
		return
	}
	switch kind {
	case reflect.Pointer:
		if n.kind != nodeNull || v.Type() == reflect.TypeFor[*nf.Value]() {
			v.Set(reflect.New(v.Type().Elem()))
			b.bind(path, n, v.Elem())
		}
	case reflect.Struct:
		b.structure(path, n, v)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
		for i := range n.items {
			b.bind(path.item(i), &n.items[i], v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMapWithSize(v.Type(), len(n.keys)))
		for i, key := range n.keys {
			name, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			b.bind(path.key(key.name), &node{kind: nodeText, text: key.name, line: key.line, column: key.column}, name)
			b.bind(path.key(key.name), &n.items[i], value)
			v.SetMapIndex(name, value)
		}
	case reflect.String:
		v.SetString(n.text)
	case reflect.Bool:
		v.SetBool(n.text == "true")
	case reflect.Int, reflect.Int64:
		if number, ok := b.integer(path, n); ok {
			v.SetInt(number)
		}
	}
}

func (b *binder) structure(path *keyPath, n *node, v reflect.Value) {
	for _, f := range b.fields(v.Type()) {
		if f.name == "" {
			b.structure(path, n, v.Field(f.index))
			continue
		}
		value := n.get(f.name)
		switch {
		case value == nil && f.required:
			b.found.add(RuleMissingKey, int(n.line), int(n.column), fmt.Sprintf("missing key %q in %s", f.name, place(path.String())), "")
		case value == nil:
		case f.words != nil && value.kind == nodeText && !slices.Contains(f.words, value.text):
			b.wrong(RuleUnknownWord, value, path.key(f.name), "one of "+strings.Join(f.words, ", "))
		default:
			b.bind(path.key(f.name), value, v.Field(f.index))
		}
	}
}

func (b *binder) integer(path *keyPath, n *node) (int64, bool) {
	number, err := strconv.ParseInt(n.text, 10, 64)
	if n.kind != nodeNumber || err != nil {
		b.wrong(RuleWrongType, n, path, "a whole number")
		return 0, false
	}
	return number, true
}

func (b *binder) time(path *keyPath, n *node) time.Time {
	t, err := time.Parse(time.RFC3339Nano, n.text)
	if n.kind != nodeText || err != nil {
		b.wrong(RuleInvalidValue, n, path, "a time such as 2026-01-31T12:00:00Z")
	}
	return t
}

// value reads what nf.Value.MarshalJSON writes.
func (b *binder) value(path *keyPath, n *node) nf.Value {
	switch n.kind {
	case nodeNull:
		return nf.Absent()
	case nodeNumber:
		number, _ := b.integer(path, n)
		return nf.Number(number)
	case nodeText:
		return nf.Text(n.text)
	case nodeMapping:
		if why := n.get("unknown"); why != nil && why.kind == nodeText {
			return nf.Unknown(why.text)
		}
		if state := n.get("state"); state != nil && state.kind == nodeText {
			var parameters map[string]string
			if p := n.get("parameters"); p != nil {
				b.bind(path.key("parameters"), p, reflect.ValueOf(&parameters).Elem())
			}
			return nf.Module(state.text, parameters)
		}
	}
	b.wrong(RuleWrongType, n, path, "a number, a text, null, {unknown: why} or {state: …}")
	return nf.Absent()
}

func (b *binder) level(path *keyPath, n *node) nf.Level {
	level, ok := nf.ParseLevel(n.text)
	if n.kind != nodeText || !ok {
		b.wrong(RuleUnknownWord, n, path, "one of "+strings.Join(nf.LevelNames(), ", "))
	}
	return level
}

// wish reads what nf.Wish.MarshalJSON writes. A wish is never absent or unknown.
func (b *binder) wish(path *keyPath, n *node) nf.Wish {
	least, most, state := n.get("atLeast"), n.get("atMost"), n.get("state")
	switch {
	case least != nil || most != nil:
		return nf.Wish{AtLeast: b.bound(path.key("atLeast"), least), AtMost: b.bound(path.key("atMost"), most)}
	case n.kind == nodeNumber || n.kind == nodeText || state != nil && state.kind == nodeText:
		return nf.Exactly(b.value(path, n))
	}
	b.wrong(RuleWrongType, n, path, "a number, a text, {state: …} or {atLeast: N, atMost: N}")
	return nf.Wish{}
}

// bound reads one bound of a range; 0 if there is none.
func (b *binder) bound(path *keyPath, n *node) int64 {
	if n == nil {
		return 0
	}
	number, ok := b.integer(path, n)
	if ok && number < 1 {
		b.wrong(RuleOutOfRange, n, path, "1 or more")
	}
	return number
}

// lines are the lines of the entries of a list, by what identifies them.
type lines map[string]int32

// uniqueAll reports the entries of a list whose texts under these keys are those of an
// earlier entry.
func (b *binder) uniqueAll(path *keyPath, list *node, keys ...string) {
	if list == nil || ascends(list.items, keys) {
		return
	}
	seen := lines{}
	for i := range list.items {
		b.unique(path, &list.items[i], seen, keys...)
	}
}

// ascends reports whether each entry of a list has a greater text than the one before it, as
// in a snapshot that nfsync wrote.
func ascends(list []node, keys []string) bool {
	if len(keys) != 1 {
		return false
	}
	last := ""
	for i := range list {
		value := list[i].get(keys[0])
		if value == nil || value.text <= last {
			return false
		}
		last = value.text
	}
	return true
}

// unique reports an entry whose texts under these keys were seen before.
func (b *binder) unique(path *keyPath, entry *node, seen lines, keys ...string) {
	var id []string
	for _, key := range keys {
		if value := entry.get(key); value != nil {
			id = append(id, value.text)
		}
	}
	name := strings.Join(id, "/")
	if line, twice := seen[name]; twice {
		b.found.add(RuleDuplicateName, int(entry.line), int(entry.column), fmt.Sprintf("%s: %s is already defined at line %d", path.String(), quote(name), line), "")
		return
	}
	seen[name] = entry.line
}
