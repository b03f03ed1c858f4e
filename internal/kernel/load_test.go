package kernel

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// What modprobe.d(5) and the command line say of a module: by file name, /etc
// before /usr/lib, the command line last, - and _ the same.
func TestModprobeRules(t *testing.T) {
	dir := t.TempDir()
	fs := FS{Proc: filepath.Join(dir, "proc"), Root: dir}
	for name, text := range map[string]string{
		"etc/modprobe.d/b.conf":     "# options nf_conntrack no=1\noptions nf-conntrack hashsize=1024 \\\n  expect_hashsize=64\n",
		"usr/lib/modprobe.d/a.conf": "options nf_conntrack acct=1\nblacklist evil\n",
		"usr/lib/modprobe.d/b.conf": "options nf_conntrack replaced=1\n",
		"run/modprobe.d/c.conf":     "install usb-* /bin/false\noptions nf_conntrack\noptions\n\n",
		"etc/modprobe.d/README":     "options nf_conntrack readme=1\n",
		"proc/cmdline":              "root=/dev/a.b nf_conntrack.hashsize=2048 other.x=1 modprobe.blacklist=one,two-b module_blacklist=three quiet.q=\"a b\" -- nf_conntrack.init=1\n",
	} {
		writeFile(t, filepath.Join(dir, name), []byte(text))
	}
	rules := fs.modprobeRules()
	want := "acct=1 hashsize=1024   expect_hashsize=64 hashsize=2048"
	if got := modprobeOptions(rules, "nf_conntrack"); got != want {
		t.Errorf("options %q, want %q", got, want)
	}
	if got := modprobeOptions(rules, "quiet"); got != `q="a b"` {
		t.Errorf("options of a quoted word: %q", got)
	}
	config := modprobeConfig{rules, &tree{}}
	for module, where := range map[string]string{
		"evil":         `/usr/lib/modprobe.d/a.conf:2 says "blacklist evil"`,
		"one":          `/proc/cmdline says "modprobe.blacklist=one"`,
		"two_b":        `/proc/cmdline says "modprobe.blacklist=two_b"`,
		"three":        `/proc/cmdline says "module_blacklist=three"`,
		"usb_storage":  `/run/modprobe.d/c.conf:1 says "install usb-* /bin/false"`,
		"nf_conntrack": "", "b": "",
	} {
		if bar := config.bar(module); bar != (nf.Bar{}) != (where != "") || where != "" && bar.String() != where {
			t.Errorf("%s: barred by %v, want %q", module, bar, where)
		}
	}
}

// moduleELF is an ELF file with a section .modinfo and, where symbols are
// given, a symbol table.
func moduleELF(t *testing.T, modinfo string, symbols ...string) []byte {
	t.Helper()
	const header = 64
	strs := "\x00"
	table := []elf.Sym64{{}}
	for _, s := range symbols {
		table = append(table, elf.Sym64{Name: uint32(len(strs)), Info: uint8(elf.STT_OBJECT), Shndx: 1})
		strs += s + "\x00"
	}
	var syms bytes.Buffer
	mustWrite(t, &syms, table)
	names := "\x00.modinfo\x00.shstrtab\x00.strtab\x00.symtab\x00"
	sections := []elf.Section64{{}}
	var body bytes.Buffer
	add := func(name string, kind elf.SectionType, data []byte, link uint32, entry uint64) {
		sections = append(sections, elf.Section64{Name: uint32(strings.Index(names, name)), Type: uint32(kind),
			Off: header + uint64(body.Len()), Size: uint64(len(data)), Link: link, Entsize: entry})
		body.Write(data)
	}
	add(".modinfo", elf.SHT_PROGBITS, []byte(modinfo), 0, 0)
	add(".shstrtab", elf.SHT_STRTAB, []byte(names), 0, 0)
	if len(symbols) > 0 {
		add(".strtab", elf.SHT_STRTAB, []byte(strs), 0, 0)
		add(".symtab", elf.SHT_SYMTAB, syms.Bytes(), 3, 24)
	}
	h := elf.Header64{Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Shoff: header + uint64(body.Len()),
		Ehsize: header, Shentsize: 64, Shnum: uint16(len(sections)), Shstrndx: 2}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	var out bytes.Buffer
	mustWrite(t, &out, h)
	out.Write(body.Bytes())
	mustWrite(t, &out, sections)
	return out.Bytes()
}

func mustWrite(t *testing.T, w io.Writer, v any) {
	t.Helper()
	if err := binary.Write(w, binary.LittleEndian, v); err != nil {
		t.Fatal(err)
	}
}

// Names that a module does not have are swallowed by the kernel, and a
// quotation mark would swallow what follows (next_arg in lib/cmdline.c):
// neither gets there.
func TestParameterString(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ip_set.ko.zst")
	writeFile(t, path, compress(t, ".zst", moduleELF(t, "license=GPL\x00parmtype=max_sets:uint\x00parm=max_sets:how many\x00parmtype=other-one:int\x00", "__param_hashsize", "__param_str_hashsize", "init_module")))
	for _, c := range []struct {
		params map[string]string
		want   string
		err    string
	}{
		{nil, "", ""},
		{map[string]string{"max_sets": "512"}, "max_sets=512", ""},
		{map[string]string{"max_sets": "512", "other_one": "1,2"}, "max_sets=512 other_one=1,2", ""},
		// module_param_call leaves no parmtype: hashsize of nf_conntrack, seen on Debian's 6.1 and 6.12.
		{map[string]string{"hashsize": "512"}, "hashsize=512", ""},
		{map[string]string{"max_set": "512"}, "", "it has no parameter max_set"},
		{map[string]string{"max_sets": "5 12"}, "", "white space"},
		{map[string]string{"max_sets": `"512`}, "", "quotation mark"},
		{map[string]string{"max_sets": "512\x00"}, "", "control character"},
	} {
		got, err := parameterString(path, c.params)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%v: %q, %v; want %q, %q", c.params, got, err, c.want, c.err)
		}
	}
	stripped := filepath.Join(t.TempDir(), "a.ko")
	writeFile(t, stripped, moduleELF(t, "parmtype=a:int\x00"))
	if got, err := parameterString(stripped, map[string]string{"b": "1"}); got != "b=1" || err != nil {
		t.Errorf("a module without symbols: %q, %v", got, err)
	}
	for _, file := range [][]byte{nil, []byte("garbage"), moduleELF(t, "")[:80]} {
		if _, err := moduleParameters(file); err == nil {
			t.Errorf("%d bytes that are no module gave no error", len(file))
		}
	}
}

// Loading is refused, before the kernel is asked, for reasons that the kernel
// would not tell.
func TestLoadModuleRefuses(t *testing.T) {
	fs, _ := fixture(t, "testdata/modules/debian-6.12.txtar")
	writeFile(t, fs.root("etc/modprobe.d/site.conf"), []byte("blacklist mrp\ninstall x_tables /bin/false\n"))
	for name, want := range map[string]string{
		"ext4":     "cannot load module ext4: it is built into the kernel",
		"nonsense": "modules.dep does not have it",
		"nft-ct":   "cannot load module nft_ct: it needs nfnetlink, nf_tables, not loaded",
		"x_tables": `/etc/modprobe.d/site.conf:2 says "install x_tables /bin/false"`,
		// The file is in modules.dep and not on the disk.
		"nfnetlink": "no such file or directory",
	} {
		if err := fs.LoadModule(context.Background(), name, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if err := fs.LoadModule(context.Background(), "nf_conntrack", map[string]string{"hashsize": "1"}); err != nil {
		t.Errorf("one that is loaded already: %v", err)
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	if err := fs.LoadModule(done, "nf_tables", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	none, _ := fixture(t, "testdata/modules/none-6.18.txtar")
	if err := none.LoadModule(context.Background(), "nf_tables", nil); !errors.Is(err, unix.ENOSYS) {
		t.Errorf("without module support: %v", err)
	}
}

// kmod panics at a blank line of modules.dep, and the file is loaded without
// it. The file here is no module for any kernel, so that nothing is changed.
func TestInitModulePassesKmodByAtBlankLines(t *testing.T) {
	dir := t.TempDir()
	fs := FS{Proc: "/proc", Sys: "/sys", Root: dir}
	modules := fs.root("lib/modules", live.release())
	for _, dep := range []string{"\n\nkernel/nfsync_none.ko:\n", "kernel/nfsync_none.ko:\n", "kernel/nfsync_need.ko:\nkernel/nfsync_none.ko: kernel/nfsync_need.ko\n", ""} {
		writeFile(t, filepath.Join(modules, "modules.dep"), []byte(dep))
		path := filepath.Join(modules, "kernel/nfsync_none.ko")
		writeFile(t, path, []byte("no module"))
		err := fs.initModule("nfsync_none", path, "")
		if !errors.Is(err, unix.ENOEXEC) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
			t.Errorf("modules.dep %q: %v, want what the kernel says", dep, err)
		}
	}
}

// The kernel does not say why EPERM, and each errno has a meaning of its own
// (init_module(2), delete_module(2)).
func TestExplain(t *testing.T) {
	fs, _ := fixture(t, "testdata/modules/debian-6.12.txtar")
	for errno, want := range map[unix.Errno]string{
		unix.ENOEXEC: "built for another kernel", unix.ENOKEY: "signed with a key", unix.ENOENT: "symbol",
		unix.ENOSYS: "no module support", unix.EINVAL: "parameter", unix.EKEYREJECTED: "signature", unix.EIO: "input/output error",
	} {
		if err := fs.explainInit("x", errno); !errors.Is(err, errno) || !strings.Contains(err.Error(), want) {
			t.Errorf("load %v: %v, want %q", errno, err, want)
		}
	}
	for errno, want := range map[unix.Errno]string{
		unix.EWOULDBLOCK: "it is in use by nf_nat", unix.EBUSY: "no exit function", unix.ENOSYS: "cannot unload modules",
	} {
		if err := fs.explainDelete("nf_conntrack", errno); !errors.Is(err, errno) || !strings.Contains(err.Error(), want) {
			t.Errorf("unload %v: %v, want %q", errno, err, want)
		}
	}
	missing := &os.PathError{Op: "open", Path: "/x.ko", Err: unix.ENOENT}
	if err := fs.explainInit("x", missing); !errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), "symbol") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// Unloading what is not loaded is done, and what is built in cannot be.
func TestUnloadModuleNotLoaded(t *testing.T) {
	m := live.Modules(nil, false)
	err := live.UnloadModule("nfsync_no_such_module")
	if m.Support == nf.SupportNone && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
		t.Errorf("without module support: %v", err)
	}
	if m.Support == nf.SupportLoadable && m.Complete && err != nil {
		t.Errorf("no such module: %v", err)
	}
}
