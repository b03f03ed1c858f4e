package spec

import (
	"encoding/json"
	"hash/maphash"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// directReader reads a snapshot that is JSON, in one pass and without a tree. It is for
// snapshots without an error: of any other document it only says that it cannot read it, and
// the readers of tree.go and bind.go read that again and say what is wrong, and where. What it
// reads they would read to the same.
type directReader struct {
	text         []byte
	at           int // the offset of the next byte
	values, kept int // as those of jsonReader
	// unknown are the keys of the mappings that are being read which no type has.
	unknown []string
	known   knownTexts
	// rooms are lists that are being read, by the numbers of their codecs. They are used again.
	rooms []reflect.Value
}

// directReaders are readers that are not in use: the snapshots of a fleet are read with a few.
var directReaders = sync.Pool{New: func() any { return &directReader{known: knownTexts{seed: maphash.MakeSeed()}} }}

// readDirectly reads a snapshot. It is not ok if there may be an error in it, or if it is YAML.
func readDirectly(data []byte) (s nf.Snapshot, ok bool) {
	text, ok := checkText(data, maxJSONDocument, &diagnostics{})
	if !ok {
		return s, false
	}
	r, _ := directReaders.Get().(*directReader) // the pool has no others
	r.text, r.at, r.values, r.kept, r.unknown = text, 0, 0, 0, r.unknown[:0]
	s, ok = r.snapshot()
	r.text = nil
	directReaders.Put(r)
	return s, ok
}

func (r *directReader) snapshot() (s nf.Snapshot, ok bool) {
	root := snapshotCodec()
	if r.peek() != '{' || !r.read(root, reflect.ValueOf(&s).Elem(), 1) {
		return s, false
	}
	r.peek()
	return s, r.at == len(r.text) && isWhole(&s)
}

// isWhole reports whether a snapshot is one, and its names are there and there once.
func isWhole(s *nf.Snapshot) bool {
	facts := func(list []nf.Fact) bool {
		return areUnique(len(list), func(i int) string { return string(list[i].Key) })
	}
	for i := range s.Containers {
		if s.Containers[i].ID == "" || !facts(s.Containers[i].Facts) {
			return false
		}
	}
	return s.APIVersion == nf.APIVersion && s.Kind == nf.KindNodeSnapshot && s.Node.Name != "" && facts(s.Host.Facts) &&
		areUnique(len(s.Modules.List), func(i int) string { return s.Modules.List[i].Name }) && areUniqueContainers(s.Containers)
}

// areUnique reports whether names differ from one another. Names that ascend do.
func areUnique(n int, name func(i int) string) bool {
	ascends := true
	for i := 1; i < n && ascends; i++ {
		ascends = name(i-1) < name(i)
	}
	if ascends {
		return true
	}
	seen := make(map[string]bool, n)
	for i := range n {
		seen[name(i)] = true
	}
	return len(seen) == n
}

// areUniqueContainers reports whether the ids of containers differ, as messages have them.
func areUniqueContainers(list []nf.Container) bool {
	ascends := len(list) == 0 || !strings.Contains(list[0].Runtime, "/")
	for i := 1; i < len(list) && ascends; i++ {
		a, b := &list[i-1], &list[i]
		ascends = a.Runtime == b.Runtime && nf.CompareNames(a.ID, b.ID) < 0
	}
	return ascends || areUnique(len(list), func(i int) string { return list[i].Runtime + "/" + list[i].ID })
}

// peek returns the next byte that is no space, at which the reader then is; 0 at the end.
func (r *directReader) peek() byte {
	for r.at < len(r.text) {
		switch b := r.text[r.at]; b {
		case ' ', '\n', '\t', '\r':
			r.at++
		default:
			return b
		}
	}
	return 0
}

// take reads a byte, after spaces.
func (r *directReader) take(b byte) bool {
	if r.peek() != b {
		return false
	}
	r.at++
	return true
}

// takeWord reads a word such as null.
func (r *directReader) takeWord(word string) bool {
	end := r.at + len(word)
	if end > len(r.text) || string(r.text[r.at:end]) != word {
		return false
	}
	r.at = end
	return true
}

// entries reads what stands between brackets: read reads each entry.
func (r *directReader) entries(open, end byte, read func() bool) bool {
	if !r.take(open) {
		return false
	}
	if r.take(end) {
		return true
	}
	for read() {
		if r.take(end) {
			return true
		}
		if !r.take(',') {
			return false
		}
	}
	return false
}

// quoted reads a text, and returns it with its quotes, and whether it has escapes.
func (r *directReader) quoted() (text []byte, escaped, ok bool) {
	if r.peek() != '"' {
		return nil, false, false
	}
	start := r.at
	for i := start + 1; i < len(r.text); i++ {
		switch b := r.text[i]; {
		case b == '"':
			r.at = i + 1
			return r.text[start:r.at], escaped, r.at-start <= maxText
		case b == '\\':
			escaped = true
			i++
		case b < ' ':
			return nil, false, false
		}
	}
	return nil, false, false
}

// plainText reads a text.
func (r *directReader) plainText() (s string, ok bool) {
	quoted, escaped, ok := r.quoted()
	if ok && escaped {
		err := json.Unmarshal(quoted, &s)
		return s, err == nil
	}
	if !ok {
		return "", false
	}
	return r.known.text(quoted[1 : len(quoted)-1]), true
}

// key reads a key of a mapping, up to its value. It does not read one with escapes.
func (r *directReader) key() (name []byte, ok bool) {
	quoted, escaped, ok := r.quoted()
	if !ok || escaped || !r.take(':') {
		return nil, false
	}
	return quoted[1 : len(quoted)-1], true
}

// number reads a whole number.
func (r *directReader) number() (int64, bool) {
	r.peek()
	start := r.at
	if r.at < len(r.text) && r.text[r.at] == '-' {
		r.at++
	}
	first := r.at
	for r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9' {
		r.at++
	}
	if digits := r.at - first; digits == 0 || digits > 1 && r.text[first] == '0' || digits > len("9223372036854775807") {
		return 0, false
	}
	n, err := strconv.ParseInt(string(r.text[start:r.at]), 10, 64)
	return n, err == nil
}

// counts reports whether another value may be read.
func (r *directReader) counts(depth int) bool {
	r.values, r.kept = r.values+1, r.kept+1
	return r.values <= maxValues && r.kept <= maxTree && depth <= maxNesting
}

// pointerTo returns a pointer to a value of that type.
func pointerTo[T any](v reflect.Value) *T {
	p, _ := v.Addr().Interface().(*T)
	return p
}

// read reads a value into v.
func (r *directReader) read(c *codec, v reflect.Value, depth int) bool {
	if !r.counts(depth) {
		return false
	}
	first := r.peek()
	switch {
	case first == 'n' && c.of == codecValue:
		*pointerTo[nf.Value](v) = nf.Absent()
		return r.takeWord("null")
	case first == 'n' && c.of == codecPointer:
		if c.elem.of == codecValue {
			v.Set(reflect.New(v.Type().Elem())) // null is a value of its own
		}
		return c.elem.of != codecInt && r.takeWord("null")
	case first == 'n':
		return (c.of == codecMap || c.of == codecList) && r.takeWord("null")
	case c.of == codecPointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.values, r.kept = r.values-1, r.kept-1 // it is one value
		return r.read(c.elem, v.Elem(), depth)
	}
	switch c.of {
	case codecStruct:
		return r.structure(c, v, depth)
	case codecList:
		return r.list(c, v, depth)
	case codecMap:
		return r.mapping(c, v, depth)
	}
	return r.scalar(c, v, depth)
}

// scalar reads a value that is no list and no mapping, or a mapping that means one value.
func (r *directReader) scalar(c *codec, v reflect.Value, depth int) (ok bool) {
	switch c.of {
	case codecText:
		var text string
		if text, ok = r.plainText(); ok {
			v.SetString(text)
		}
	case codecBool:
		if ok = r.takeWord("true"); ok {
			v.SetBool(true)
			return true
		}
		ok = r.takeWord("false")
	case codecInt:
		var n int64
		if n, ok = r.number(); ok {
			v.SetInt(n)
		}
	case codecLevel:
		*pointerTo[nf.Level](v), ok = r.level()
	case codecTime:
		var text string
		if text, ok = r.plainText(); ok {
			var err error
			*pointerTo[time.Time](v), err = time.Parse(time.RFC3339Nano, text)
			ok = err == nil
		}
	case codecValue:
		*pointerTo[nf.Value](v), ok = r.value(depth)
	case codecWish:
		*pointerTo[nf.Wish](v), ok = r.wish(depth)
	}
	return ok
}

func (r *directReader) level() (nf.Level, bool) {
	text, ok := r.plainText()
	level, known := nf.ParseLevel(text)
	return level, ok && known
}

// value reads what nf.Value.MarshalJSON writes, but for null.
func (r *directReader) value(depth int) (nf.Value, bool) {
	switch r.peek() {
	case '"':
		text, ok := r.plainText()
		return nf.Text(text), ok
	case '{':
		var doc valueMapping
		ok := r.structure(valueCodec(), reflect.ValueOf(&doc).Elem(), depth)
		switch {
		case !ok || (doc.Unknown == nil) == (doc.State == nil) || doc.Unknown != nil && doc.Parameters != nil:
			return nf.Value{}, false
		case doc.Unknown != nil:
			return nf.Unknown(*doc.Unknown), true
		}
		return nf.Module(*doc.State, doc.Parameters), true
	}
	n, ok := r.number()
	return nf.Number(n), ok
}

// wish reads what nf.Wish.MarshalJSON writes.
func (r *directReader) wish(depth int) (nf.Wish, bool) {
	start, values, kept := r.at, r.values, r.kept
	var bounds rangeMapping
	if r.peek() == '{' && r.structure(rangeCodec(), reflect.ValueOf(&bounds).Elem(), depth) && (bounds.AtLeast != nil || bounds.AtMost != nil) {
		least, isBound := bound(bounds.AtLeast)
		most, both := bound(bounds.AtMost)
		return nf.Wish{AtLeast: least, AtMost: most}, isBound && both
	}
	r.at, r.values, r.kept = start, values, kept
	v, ok := r.value(depth)
	return nf.Exactly(v), ok && !v.IsUnknown()
}

// bound returns one bound of a range; 0 if there is none.
func bound(n *int64) (int64, bool) {
	if n == nil {
		return 0, true
	}
	return *n, *n >= 1
}

// structure reads a mapping into a struct.
func (r *directReader) structure(c *codec, v reflect.Value, depth int) bool {
	var seen uint64
	next, before := 0, len(r.unknown)
	ok := r.entries('{', '}', func() bool {
		name, ok := r.key()
		if !ok {
			return false
		}
		i := c.find(name, next)
		if i < 0 {
			return r.isNew(name, before) && r.skip(depth+1)
		}
		if seen&(1<<i) != 0 {
			return false
		}
		seen |= 1 << i
		next = i + 1
		return r.field(&c.fields[i], v, depth)
	})
	r.unknown = r.unknown[:before]
	return ok && seen&c.required == c.required
}

func (r *directReader) field(f *codecField, v reflect.Value, depth int) bool {
	for _, i := range f.index {
		v = v.Field(i)
	}
	if f.codec.isContainers {
		return r.containers(pointerTo[[]nf.Container](v), f.codec, depth+1)
	}
	return r.read(f.codec, v, depth+1) && (f.words == nil || slices.Contains(f.words, v.String()))
}

// containersPart is how many containers are read into one piece of memory.
const containersPart = 64

// containers reads the containers of a node. What one of them holds is not counted for the next.
func (r *directReader) containers(to *[]nf.Container, c *codec, depth int) bool {
	if r.peek() != '[' {
		return r.read(c, reflect.ValueOf(to).Elem(), depth)
	}
	var parts [][]nf.Container // one list that grows would be copied several times
	ok := r.entries('[', ']', func() bool {
		kept, last := r.kept, len(parts)-1
		if last < 0 || len(parts[last]) == cap(parts[last]) {
			parts = append(parts, make([]nf.Container, 0, containersPart))
			last++
		}
		parts[last] = append(parts[last], nf.Container{})
		ok := r.read(c.elem, reflect.ValueOf(&parts[last][len(parts[last])-1]).Elem(), depth+1)
		r.kept = kept
		return ok
	})
	*to = slices.Concat(parts...)
	return ok
}

// list reads a list. Its entries are collected in a room of the reader and then copied: a list
// that grows would be copied several times.
func (r *directReader) list(c *codec, v reflect.Value, depth int) bool {
	for len(r.rooms) <= c.number {
		r.rooms = append(r.rooms, reflect.Value{})
	}
	room := r.rooms[c.number]
	r.rooms[c.number] = reflect.Value{} // another list of this type may be in this one
	if !room.IsValid() {
		room = reflect.New(v.Type()).Elem()
	}
	n := 0
	ok := r.entries('[', ']', func() bool {
		if n == room.Len() {
			room.Grow(1)
			room.SetLen(room.Cap())
		}
		entry := room.Index(n)
		entry.SetZero()
		n++
		return r.read(c.elem, entry, depth+1)
	})
	if ok && n > 0 {
		full := room.Len()
		room.SetLen(n)
		v.Grow(n)
		v.SetLen(n)
		reflect.Copy(v, room)
		room.SetLen(full)
	} else if ok {
		v.Set(c.empty)
	}
	r.rooms[c.number] = room
	return ok
}

func (r *directReader) mapping(c *codec, v reflect.Value, depth int) bool {
	v.Set(reflect.MakeMap(v.Type()))
	key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
	n := 0
	return r.entries('{', '}', func() bool {
		name, ok := r.key()
		if !ok {
			return false
		}
		if c.levels {
			level, known := nf.ParseLevel(string(name))
			if !known {
				return false
			}
			key.SetInt(int64(level))
		} else {
			key.SetString(r.known.text(name))
		}
		value.SetZero()
		if !r.read(c.elem, value, depth+1) {
			return false
		}
		v.SetMapIndex(key, value)
		n++
		return v.Len() == n // else it is there twice
	})
}

// isNew reports whether a key that no type has is not among those of its mapping. It gives up on
// many of them.
func (r *directReader) isNew(name []byte, first int) bool {
	for _, other := range r.unknown[first:] {
		if other == string(name) {
			return false
		}
	}
	r.unknown = append(r.unknown, r.known.text(name))
	return len(r.unknown)-first <= manyKeys
}

// skip reads a value that no type has.
func (r *directReader) skip(depth int) bool {
	if !r.counts(depth) {
		return false
	}
	switch r.peek() {
	case '{':
		before := len(r.unknown)
		ok := r.entries('{', '}', func() bool {
			name, ok := r.key()
			return ok && r.isNew(name, before) && r.skip(depth+1)
		})
		r.unknown = r.unknown[:before]
		return ok
	case '[':
		return r.entries('[', ']', func() bool { return r.skip(depth + 1) })
	case '"':
		_, ok := r.plainText()
		return ok
	case 't':
		return r.takeWord("true")
	case 'f':
		return r.takeWord("false")
	case 'n':
		return r.takeWord("null")
	}
	_, ok := r.number()
	return ok
}

// knownTexts finds the memory of an equal text before, if that is not long ago: most texts of a
// snapshot recur, and those of a fleet are the same in all snapshots.
type knownTexts struct {
	seed  maphash.Seed
	texts [2048]string
}

// maxKnown is the longest text that is remembered.
const maxKnown = 128

func (k *knownTexts) text(b []byte) string {
	if len(b) == 0 || len(b) > maxKnown {
		return string(b)
	}
	known := &k.texts[maphash.Bytes(k.seed, b)%uint64(len(k.texts))]
	if *known != string(b) {
		*known = string(b)
	}
	return *known
}
