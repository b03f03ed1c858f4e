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
)

// The bounds of a pack. go-git loads whole objects into memory, as large as they say they
// are, so that they are checked first.
const (
	maxObjects  = 150_000
	maxObject   = 16 << 20 // bytes of one object, inflated
	maxInflated = 1 << 30  // bytes of all objects: deltas count as what they are, not as what they make
)

// checkPack reads a pack without storing it and refuses one that could not be read within
// the memory of a fetch. It returns the number of its objects.
func checkPack(r io.ReadSeeker) (uint32, error) {
	s := packfile.NewScanner(r)
	_, count, err := s.Header()
	if err != nil {
		return 0, err
	}
	if count > maxObjects {
		return 0, &boundError{fmt.Sprintf("it sends %d objects; nfsync takes %d", count, maxObjects)}
	}
	var total int64
	for range count {
		h, err := s.NextObjectHeader()
		if err != nil {
			return 0, err
		}
		if total += h.Length; total > maxInflated {
			return 0, &boundError{fmt.Sprintf("its objects take more than %d MiB", maxInflated>>20)}
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
	head := &first{most: 20}
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
	return &boundError{fmt.Sprintf("it sends an object of %d bytes; nfsync takes %d", size, maxObject)}
}

// leb128 reads a number of seven bits a byte, the least significant first.
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

// first stores the first bytes that are written to it.
type first struct {
	b    []byte
	most int
}

func (f *first) Write(p []byte) (int, error) {
	f.b = append(f.b, p[:min(len(p), f.most-len(f.b))]...)
	return len(p), nil
}

// install checks the pack in the file name, indexes it and moves both into the
// directory of packs. Every object is hashed on the way.
func install(name, packs string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	count, err := checkPack(f)
	if err != nil {
		return wrapPack(err)
	}
	if count == 0 {
		return os.Remove(name)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sum, err := writeIndex(f, name+".idx")
	if err != nil {
		return wrapPack(err)
	}
	base := filepath.Join(packs, "pack-"+sum.String())
	// The index first: go-git lists the packs and then opens the index of each.
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

func wrapPack(err error) error {
	var b *boundError
	if errors.As(err, &b) {
		return err
	}
	return fmt.Errorf("the pack is incomplete: %w", err)
}
