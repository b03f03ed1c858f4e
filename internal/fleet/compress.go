package fleet

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// maxDocument is the most bytes of a snapshot that are read, decompressed: what a node has compressed may be much larger than
// it seems.
const maxDocument = 16 << 20

// compress compresses a document. A snapshot is put so seldom that nothing is kept between two.
func compress(document []byte) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic(err) // the options are constants
	}
	return w.EncodeAll(document, nil)
}

// newDecompressor returns a decoder that refuses documents that are too large. Its method DecodeAll is for one caller at a
// time.
func newDecompressor() *zstd.Decoder {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDocument))
	if err != nil {
		panic(err) // the options are constants
	}
	return r
}

func decompress(r *zstd.Decoder, value []byte) ([]byte, error) {
	document, err := r.DecodeAll(value, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot decompress it: %w", err)
	}
	return document, nil
}
