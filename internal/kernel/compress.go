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

// maxModule bounds the decompressed size of a module. The largest modules of Debian
// have about 20 MiB.
const maxModule = 256 << 20

// algorithms are the names that /sys/module/compression has for the compressions of
// module files, by suffix (kernel/module/decompress.c).
var algorithms = map[string]string{".gz": "gzip", ".xz": "xz", ".zst": "zstd"}

// compression returns the suffix of a compressed module file; empty if it is not
// compressed.
func compression(path string) string {
	suffix := filepath.Ext(path)
	if _, known := algorithms[suffix]; known && strings.HasSuffix(strings.TrimSuffix(path, suffix), ".ko") {
		return suffix
	}
	return ""
}

// readModule reads and decompresses a module's file. A signature stays valid: it was
// compressed with the module.
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
