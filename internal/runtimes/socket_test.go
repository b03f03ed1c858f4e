package runtimes

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// An answer of a runtime is bounded, whatever it consists of. A busy machine may take longer for it than answerTimeout.
func TestAnswersAreBounded(t *testing.T) {
	const tooLarge = "the file is larger than 16 MiB"
	for name, test := range map[string]struct {
		answer io.Reader
		err    string
	}{
		"a text":         {strings.NewReader(`"a"`), ""},
		"nothing":        {strings.NewReader(""), "EOF"},
		"a long text":    {io.MultiReader(strings.NewReader(`"`), endless('x')), tooLarge},
		"many spaces":    {endless(' '), tooLarge},
		"no text at all": {endless(0), "invalid character '\\x00' looking for beginning of value"},
	} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.Copy(w, test.answer) // until the client has read enough
			}))
			_ = server.Listener.Close() // the one on a port
			server.Listener = listener
			server.Start()
			t.Cleanup(server.Close)
			var text string
			got := ""
			if err := get(t.Context(), socket, "/", &text); err != nil {
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
