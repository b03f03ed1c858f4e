package spec

import (
	"encoding/binary"
	"testing"
)

// TestArePlain tries every byte in every place, beside plain ones.
func TestArePlain(t *testing.T) {
	for at := range 8 {
		for b := range 256 {
			text := []byte("a \n~Z0{\n")
			text[at] = byte(b)
			want := b == '\n' || b >= ' ' && b <= '~'
			if got := arePlain(binary.LittleEndian.Uint64(text)); got != want {
				t.Errorf("%q: plain is %t", text, got)
			}
			if got := plainLength(text); want != (got == len(text)) || !want && got != at {
				t.Errorf("%q: the first %d bytes are plain", text, got)
			}
		}
	}
}
