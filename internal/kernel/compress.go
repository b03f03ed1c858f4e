package kernel

import (
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
	return readCompressed(path, compression(path), maxModule)
}

// readCompressed reads a file of a compression, up to limit bytes once decompressed.
func readCompressed(path, suffix string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := decompress(f, suffix, limit)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return data, nil
}

// decompress reads all of r, up to limit bytes once decompressed. With a suffix that is
// none of a compression it reads r as it is.
func decompress(r io.Reader, suffix string, limit int64) ([]byte, error) {
	var err error
	switch suffix {
	case ".gz":
		r, err = gzip.NewReader(r)
	case ".xz":
		r, err = xz.NewReader(r)
	case ".zst":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(limit))); err == nil {
			defer z.Close()
		}
		r = z
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("it has more than %d bytes once decompressed", limit)
	}
	return data, nil
}
