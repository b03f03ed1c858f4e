package kernel

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxModule bounds the size of a module once decompressed. The largest of
// Debian's have about 20 MiB.
const maxModule = 256 << 20

// algorithms are the compressions of module files, by suffix, and the name
// that /sys/module/compression has for them (kernel/module/decompress.c).
var algorithms = map[string]string{".gz": "gzip", ".xz": "xz", ".zst": "zstd"}

// compression is the suffix that tells how a module's file is compressed;
// empty if it is not.
func compression(path string) string {
	suffix := filepath.Ext(path)
	if _, known := algorithms[suffix]; known && strings.HasSuffix(strings.TrimSuffix(path, suffix), ".ko") {
		return suffix
	}
	return ""
}

// readModule reads a module's file and decompresses it. A signature stays
// valid: it is part of what was compressed.
func readModule(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := decompress(f, compression(path), maxModule)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return data, nil
}

// decompress reads all of r, up to limit bytes once decompressed.
func decompress(r io.Reader, suffix string, limit int64) ([]byte, error) {
	plain := r
	switch suffix {
	case ".gz":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		plain = z
	case ".xz":
		z, err := xz.NewReader(r)
		if err != nil {
			return nil, err
		}
		plain = z
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(limit)))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		plain = z
	}
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(plain, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("it has more than %d bytes once decompressed", limit)
	}
	return out.Bytes(), nil
}
