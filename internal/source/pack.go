package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"

	"nfsync.dev/nfsync/internal/nf"
)

// The bounds of a pack. They are checked before go-git reads it, because go-git loads whole
// objects into memory, in the size that the pack declares.
const (
	maxObjects = 150_000
	maxObject  = 16 << 20 // bytes of one object, inflated
	// inflation is the bytes of all objects, inflated, as a multiple of the most that the pack
	// may have. A delta counts with its own size, not with that of its result.
	inflation = 4
)

// checkPack returns the number of objects in a pack, or an error if go-git could not read
// it within the memory of a fetch. most is the largest size of a pack.
func checkPack(r io.ReadSeeker, most nf.Size) (uint32, error) {
	s := packfile.NewScanner(r)
	_, count, err := s.Header()
	if err != nil {
		return 0, err
	}
	if count > maxObjects {
		return 0, &boundError{fmt.Sprintf("it sends %d objects, and nfsync reads at most %d. "+ownRepository, count, maxObjects)}
	}
	var total nf.Size
	for range count {
		h, err := s.NextObjectHeader()
		if err != nil {
			return 0, err
		}
		if total += nf.Size(h.Length); total > inflation*most {
			return 0, &boundError{fmt.Sprintf("its objects take more than %s, %d times the largest pack. "+raiseLimit, inflation*most, inflation)}
		}
		if err := checkObject(s, h); err != nil {
			return 0, err
		}
	}
	return count, nil
}

func checkObject(s *packfile.Scanner, h *packfile.ObjectHeader) error {
	if h.Length < 0 || h.Length > maxObject {
		return tooLarge(h.Length)
	}
	if !h.Type.IsDelta() {
		_, _, err := s.NextObject(io.Discard)
		return err
	}
	// A delta begins with two numbers, each of at most ten bytes: the sizes of its
	// base and of its result.
	head := &prefixWriter{most: 20}
	if _, _, err := s.NextObject(head); err != nil {
		return err
	}
	b := bytes.NewReader(head.b)
	for range 2 {
		size, err := leb128(b)
		if err != nil {
			return err
		}
		if size < 0 || size > maxObject {
			return tooLarge(size)
		}
	}
	return nil
}

func tooLarge(size int64) error {
	return &boundError{fmt.Sprintf("it sends an object of %d bytes, and nfsync reads at most %d. "+ownRepository, size, maxObject)}
}

// What to do about a pack that exceeds a bound.
const (
	ownRepository = "Keep the policies in a repository of their own"
	raiseLimit    = "Raise the limit with --max-pack-size or source.maxPackSize, or keep the policies in a repository of their own"
)

// leb128 reads a number with seven bits in each byte, the least significant first. It
// returns -1 for one that is too large.
func leb128(r io.ByteReader) (int64, error) {
	var n int64
	for shift := 0; ; shift += 7 {
		c, err := r.ReadByte()
		if err != nil {
			return 0, fmt.Errorf("a delta has no size: %w", err)
		}
		if shift > 56 {
			return -1, nil
		}
		n |= int64(c&0x7f) << shift
		if c&0x80 == 0 {
			return n, nil
		}
	}
}

// prefixWriter stores the first bytes that are written to it.
type prefixWriter struct {
	b    []byte
	most int
}

func (w *prefixWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p[:min(len(p), w.most-len(w.b))]...)
	return len(p), nil
}

// install checks the pack in the file name, indexes it, and moves pack and index into the
// directory packs. most is the largest size of a pack. Indexing hashes every object.
func install(name, packs string, most nf.Size) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	count, err := checkPack(f, most)
	if err != nil {
		return packError(err)
	}
	if count == 0 {
		return os.Remove(name)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sum, err := writeIndex(f, name+".idx")
	if err != nil {
		return packError(err)
	}
	base := filepath.Join(packs, "pack-"+sum.String())
	// The index is moved first: go-git lists the packs, then opens the index of each.
	if err := os.Rename(name+".idx", base+".idx"); err != nil {
		return err
	}
	return os.Rename(name, base+".pack")
}

func writeIndex(pack io.ReadSeeker, name string) (plumbing.Hash, error) {
	w := new(idxfile.Writer)
	p, err := packfile.NewParser(packfile.NewScanner(pack), w)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	sum, err := p.Parse()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	index, err := w.Index()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	f, err := os.Create(name)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	_, err = idxfile.NewEncoder(f).Encode(index)
	return sum, errors.Join(err, f.Close())
}

func packError(err error) error {
	if _, ok := errors.AsType[*boundError](err); ok {
		return err
	}
	return fmt.Errorf("cannot read the pack: %w", err)
}
