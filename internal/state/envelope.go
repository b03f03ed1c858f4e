package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"nfsync.dev/nfsync/internal/openfile"
)

// format is the version of every file here.
const format = 3

// readable is the largest document, in bytes, that is indented for people: nobody reads a
// larger one, and indenting it takes time and memory.
const readable = 64 << 10

// ErrDamaged says that a file of the state directory is not what nfsync wrote.
var ErrDamaged = errors.New("damaged")

// envelope is the content of a file: readable, and with a checksum.
type envelope struct {
	Format int             `json:"format"`
	Kind   string          `json:"kind"`
	SHA256 string          `json:"sha256"` // of data without white space
	Data   json.RawMessage `json:"data"`
}

func seal(kind string, doc any) ([]byte, error) {
	data, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return envelope{format, kind, checksum(data), data}.text(len(data) <= readable)
}

func (e envelope) text(indented bool) (out []byte, err error) {
	if indented {
		out, err = json.MarshalIndent(e, "", "  ")
	} else {
		out, err = json.Marshal(e)
	}
	return append(out, '\n'), err
}

// unseal is the inverse of seal.
func unseal(kind string, text []byte, doc any) error {
	if data, ok := sealedData(kind, text); ok {
		return json.Unmarshal(data, doc)
	}
	return unsealSlowly(kind, text, doc)
}

// sealedData returns the data of an envelope that is not indented, without parsing it: what is around
// the data is known but for the checksum, which must match. It is false for any other text.
func sealedData(kind string, text []byte) ([]byte, bool) {
	rest, before := bytes.CutPrefix(text, fmt.Appendf(nil, `{"format":%d,"kind":%q,"sha256":"`, format, kind))
	rest, after := bytes.CutSuffix(rest, []byte("}\n"))
	sum, data, ok := bytes.Cut(rest, []byte(`","data":`))
	return data, before && after && ok && checksum(data) == string(sum)
}

// unsealSlowly is unseal for any envelope, and says what is wrong with it.
func unsealSlowly(kind string, text []byte, doc any) error {
	var e envelope
	if err := json.Unmarshal(text, &e); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	indented := bytes.HasPrefix(text, []byte("{\n"))
	if indented {
		var data bytes.Buffer
		if err := json.Compact(&data, e.Data); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		e.Data = data.Bytes()
	}
	whole, err := e.text(indented) // without white space unless it is indented
	if err != nil {
		return err
	}
	switch {
	case checksum(e.Data) != e.SHA256 || !bytes.Equal(whole, text):
		return fmt.Errorf("%w: the checksum does not match", ErrDamaged)
	case e.Kind != kind:
		return fmt.Errorf("%w: it holds %q, not %q", ErrDamaged, e.Kind, kind)
	case e.Format != format:
		return unknownFormat(e.Format)
	}
	return json.Unmarshal(e.Data, doc)
}

func unknownFormat(version int) error {
	return fmt.Errorf("its format is version %d, and this nfsync knows version %d only: use the nfsync that wrote it", version, format)
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// load reads a sealed file. It is false if there is none.
func load(path, kind, remedy string, doc any) (bool, error) {
	text, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = unseal(kind, text, doc)
	}
	return err == nil, readError(path, remedy, err)
}

// largest bounds a file, in bytes.
const largest = 1 << 30

// read reads a file of the state directory.
func read(path string) ([]byte, error) {
	f, err := open(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return openfile.ReadAll(f, largest)
}

// open opens a file of the state directory. The directory and the file belong to this user
// or root alone: whoever can write there decides what nfsync does.
func open(path string, flag int) (*os.File, error) {
	if err := openfile.CheckDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return openfile.Own(path, flag, 0o600)
}

// readError adds the name of the file and, if it is damaged, the remedy.
func readError(path, remedy string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrDamaged):
		return fmt.Errorf("cannot trust %s: %w; %s", path, err, remedy)
	}
	return fmt.Errorf("cannot read %s: %w", path, err)
}
