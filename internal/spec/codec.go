package spec

import (
	"reflect"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// codec is how a directReader reads a type. It follows from the type, and from the tables of
// bind.go.
type codec struct {
	of       codecKind
	fields   []codecField // of a struct, with those of its embedded structs
	required uint64       // the bits of the fields that must be there
	elem     *codec
	levels   bool          // the keys of a map are levels
	number   int           // of a list, among the lists
	empty    reflect.Value // of a list: one without entries
	// isContainers is set for the containers of a snapshot.
	isContainers bool
}

type codecField struct {
	name  string
	index []int // of the field in its struct, below those of embedded structs
	words []string
	codec *codec
}

type codecKind uint8

const (
	codecStruct codecKind = iota
	codecList
	codecMap
	codecPointer
	codecText
	codecBool
	codecInt
	codecLevel
	codecTime
	codecValue
	codecWish
)

// codecs builds codecs.
type codecs struct {
	binder binder
	built  map[reflect.Type]*codec
	lists  int
}

var (
	snapshotCodec = sync.OnceValue(func() *codec { return allCodecs().built[reflect.TypeFor[nf.Snapshot]()] })
	valueCodec    = sync.OnceValue(func() *codec { return allCodecs().built[reflect.TypeFor[valueMapping]()] })
	rangeCodec    = sync.OnceValue(func() *codec { return allCodecs().built[reflect.TypeFor[rangeMapping]()] })

	allCodecs = sync.OnceValue(func() *codecs {
		b := &codecs{binder: binder{fieldsOf: map[reflect.Type][]jsonField{}}, built: map[reflect.Type]*codec{}}
		b.codec(reflect.TypeFor[nf.Snapshot]())
		b.codec(reflect.TypeFor[valueMapping]())
		b.codec(reflect.TypeFor[rangeMapping]())
		return b
	})
)

// valueMapping is a value that is a mapping.
type valueMapping struct {
	Unknown    *string           `json:"unknown"`
	State      *string           `json:"state"`
	Parameters map[string]string `json:"parameters"`
}

// rangeMapping is a wish that is a range.
type rangeMapping struct {
	AtLeast *int64 `json:"atLeast"`
	AtMost  *int64 `json:"atMost"`
}

// codec returns the codec of a type.
func (b *codecs) codec(t reflect.Type) *codec {
	if known, ok := b.built[t]; ok {
		return known
	}
	c := &codec{}
	b.built[t] = c
	switch t {
	case reflect.TypeFor[nf.Value]():
		c.of = codecValue
		return c
	case reflect.TypeFor[nf.Wish]():
		c.of = codecWish
		return c
	case reflect.TypeFor[nf.Level]():
		c.of = codecLevel
		return c
	case reflect.TypeFor[time.Time]():
		c.of = codecTime
		return c
	}
	switch t.Kind() {
	case reflect.Struct:
		c.of = codecStruct
		b.addFields(c, t, nil)
	case reflect.Slice:
		c.of, c.elem, c.number, c.empty = codecList, b.codec(t.Elem()), b.lists, reflect.MakeSlice(t, 0, 0)
		c.isContainers = t == reflect.TypeFor[[]nf.Container]()
		b.lists++
	case reflect.Map:
		c.of, c.elem, c.levels = codecMap, b.codec(t.Elem()), t.Key() == reflect.TypeFor[nf.Level]()
	case reflect.Pointer:
		c.of, c.elem = codecPointer, b.codec(t.Elem())
	case reflect.String:
		c.of = codecText
	case reflect.Bool:
		c.of = codecBool
	case reflect.Int, reflect.Int64:
		c.of = codecInt
	}
	return c
}

// addFields adds the fields of a struct, and of those embedded in it, to its codec.
func (b *codecs) addFields(c *codec, t reflect.Type, above []int) {
	for _, f := range b.binder.fields(t) {
		index := append(append([]int{}, above...), f.index)
		field := t.Field(f.index)
		if f.name == "" {
			b.addFields(c, field.Type, index)
			continue
		}
		if f.required {
			c.required |= 1 << len(c.fields)
		}
		c.fields = append(c.fields, codecField{name: f.name, index: index, words: f.words, codec: b.codec(field.Type)})
	}
}

// find returns the position of a field; -1 if there is none. A document that nfsync wrote has the
// fields in their order: the search begins with the next one.
func (c *codec) find(name []byte, next int) int {
	for i := next; i < len(c.fields); i++ {
		if c.fields[i].name == string(name) {
			return i
		}
	}
	for i := range min(next, len(c.fields)) {
		if c.fields[i].name == string(name) {
			return i
		}
	}
	return -1
}
