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
)

// format is the version of every file here.
const format = 3

// readable is the largest document, in bytes, that is indented for people: nobody reads a
// larger one, and indenting it takes memory.
const readable = 1 << 20

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
	e := envelope{format, kind, checksum(data), data}
	var out []byte
	if len(data) > readable {
		out, err = json.Marshal(e)
	} else {
		out, err = json.MarshalIndent(e, "", "  ")
	}
	return append(out, '\n'), err
}

// unseal is the inverse of seal.
func unseal(kind string, text []byte, doc any) error {
	var e envelope
	if err := json.Unmarshal(text, &e); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	var data bytes.Buffer
	if err := json.Compact(&data, e.Data); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	switch {
	case checksum(data.Bytes()) != e.SHA256:
		return fmt.Errorf("%w: the checksum does not match", ErrDamaged)
	case e.Kind != kind:
		return fmt.Errorf("%w: it holds %q, not %q", ErrDamaged, e.Kind, kind)
	case e.Format != format:
		return unknownFormat(e.Format)
	}
	return json.Unmarshal(data.Bytes(), doc)
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
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = unseal(kind, text, doc)
	}
	return err == nil, readError(path, remedy, err)
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
