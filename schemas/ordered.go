package schemas

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Ordered is an object of JSON in the order of its text, in which a map would not be: the
// properties of a schema, each as a T.
type Ordered[T any] []Named[T]

// Named is a value with its name.
type Named[T any] struct {
	Name  string
	Value T
}

// UnmarshalJSON keeps the order.
func (o *Ordered[T]) UnmarshalJSON(text []byte) error {
	in := json.NewDecoder(bytes.NewReader(text))
	if _, err := in.Token(); err != nil {
		return err
	}
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return err
		}
		var value T
		if err := in.Decode(&value); err != nil {
			return err
		}
		*o = append(*o, Named[T]{fmt.Sprint(name), value})
	}
	return nil
}
