package runtimes

import (
	"io"
	"strings"
	"testing"
)

// An answer of a runtime is bounded, whatever it consists of.
func TestDecodeAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		answer io.Reader
		err    string
	}{
		"a text":         {strings.NewReader(`"a"`), ""},
		"nothing":        {strings.NewReader(""), "EOF"},
		"a long text":    {io.MultiReader(strings.NewReader(`"`), endless('x')), "the file is larger than 16 MiB"},
		"many spaces":    {endless(' '), "the file is larger than 16 MiB"},
		"no text at all": {endless(0), "invalid character '\\x00' looking for beginning of value"},
	} {
		t.Run(name, func(t *testing.T) {
			var text string
			got := ""
			if err := decodeAnswer(test.answer, &text); err != nil {
				got = err.Error()
			}
			if got != test.err || got == "" && text != "a" {
				t.Errorf("%q, %q, want %q", text, got, test.err)
			}
		})
	}
}

// endless is a reader of one byte, over and over.
type endless byte

func (e endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(e)
	}
	return len(b), nil
}
