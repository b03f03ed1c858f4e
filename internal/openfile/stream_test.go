package openfile

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// A stream that is open already is read, whatever it is; a pipe that is named is not.
func TestInput(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	_, err = w.WriteString("text")
	must(t, err)
	must(t, w.Close()) // nobody writes any more: to open the pipe again must not wait
	for _, path := range []string{fmt.Sprintf("/dev/fd/%d", r.Fd()), fmt.Sprintf("/proc/self/fd/%d", r.Fd())} {
		if !IsStream(path) {
			t.Errorf("%s is no stream", path)
		}
	}
	f, err := Input(fmt.Sprintf("/dev/fd/%d", r.Fd()))
	must(t, err)
	data, err := io.ReadAll(f)
	must(t, err)
	must(t, f.Close())
	if string(data) != "text" {
		t.Errorf("read %q", data)
	}
	must(t, r.Close())
	dir := tree(t)
	opened, err := os.Open(dir)
	must(t, err)
	defer opened.Close()
	for _, path := range []string{filepath.Join(dir, "pipe"), filepath.Join(dir, "file"), "/dev/fd/999999", "/dev/fd/", "/dev/fd/x", "/dev/null", fmt.Sprintf("/dev/fd/%d", opened.Fd())} {
		if IsStream(path) {
			t.Errorf("%s is a stream", path)
		}
	}
	if _, err := Input(filepath.Join(dir, "pipe")); err == nil {
		t.Error("a named pipe was opened")
	}
}
