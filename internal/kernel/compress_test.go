package kernel

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

func compress(t testing.TB, suffix string, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch suffix {
	case "":
		return data
	case ".gz":
		w = gzip.NewWriter(&out)
	case ".xz":
		w, err = xz.NewWriter(&out)
	case ".zst":
		w, err = zstd.NewWriter(&out)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// What the kernel's build compresses (scripts/Makefile.modinst: gzip, xz,
// zstd) comes out as it was, up to the limit, and damage is an error.
func TestDecompress(t *testing.T) {
	data := []byte(strings.Repeat("\x7fELF module ", 10_000))
	for _, suffix := range []string{"", ".gz", ".xz", ".zst"} {
		packed := compress(t, suffix, data)
		got, err := decompress(bytes.NewReader(packed), suffix, int64(len(data)))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%q: %d bytes, %v", suffix, len(got), err)
		}
		if got, err := decompress(bytes.NewReader(packed), suffix, int64(len(data)-1)); err == nil {
			t.Errorf("%q: %d bytes passed a limit of %d", suffix, len(got), len(data)-1)
		}
		if suffix == "" {
			continue
		}
		for _, damaged := range [][]byte{[]byte("garbage that is no archive"), packed[:len(packed)/2]} {
			if got, err := decompress(bytes.NewReader(damaged), suffix, 1<<20); err == nil {
				t.Errorf("%q: %d damaged bytes gave %d without an error", suffix, len(damaged), len(got))
			}
		}
	}
}

// The configuration comes from /proc/config.gz first, then from /boot.
func TestReadKconfig(t *testing.T) {
	dir := t.TempDir()
	fs := FS{Proc: filepath.Join(dir, "proc"), Root: dir}
	writeFile(t, fs.proc("sys/kernel/osrelease"), []byte("6.1.0\n"))
	if _, _, err := fs.readKconfig(); !os.IsNotExist(err) {
		t.Errorf("without any file: %v", err)
	}
	writeFile(t, fs.root("lib/modules/6.1.0/config"), []byte("CONFIG_A=y\n"))
	writeFile(t, fs.root("boot/config-6.1.0"), []byte("CONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=\"y\"\n"))
	c, path, err := fs.readKconfig()
	if err != nil || path != fs.root("boot/config-6.1.0") || len(c) != 2 || c["B"] != 'm' || c["C"] != 'n' {
		t.Errorf("/boot: %v %s %v", c, path, err)
	}
	writeFile(t, fs.proc("config.gz"), compress(t, ".gz", []byte("CONFIG_E=y\n")))
	if c, path, err := fs.readKconfig(); err != nil || path != fs.proc("config.gz") || c["E"] != 'y' {
		t.Errorf("config.gz: %v %s %v", c, path, err)
	}
	writeFile(t, fs.proc("config.gz"), []byte("no gzip"))
	if _, path, err := fs.readKconfig(); err != nil || path != fs.root("boot/config-6.1.0") {
		t.Errorf("damaged config.gz: %s %v", path, err)
	}
}

func TestModuleName(t *testing.T) {
	for path, want := range map[string]string{
		"kernel/net/8021q/8021q.ko":         "8021q",
		"kernel/net/vport-vxlan.ko.xz":      "vport_vxlan",
		"/lib/modules/x/updates/a.ko.zst":   "a",
		"b.ko.gz":                           "b",
		"kernel/net/netfilter/x_tables":     "",
		"kernel/net/netfilter/x_tables.o":   "",
		"a.ko.bz2":                          "",
		".ko":                               "",
		"kernel/with space.ko":              "",
		"":                                  "",
		"kernel/net/netfilter/x_tables.ko/": "",
	} {
		if got, ok := moduleName(path); got != want || ok != (want != "") {
			t.Errorf("moduleName(%q) = %q, %v", path, got, ok)
		}
	}
}
