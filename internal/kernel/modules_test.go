package kernel

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// fixture writes the files of an archive below a new directory, with NUL for
// \0, and returns the FS there and the section "want".
func fixture(t testing.TB, archive string) (FS, string) {
	t.Helper()
	ar, err := txtar.ParseFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	dir, want := t.TempDir(), ""
	for _, f := range ar.Files {
		if f.Name == "want" {
			want = string(f.Data)
			continue
		}
		writeFile(t, filepath.Join(dir, f.Name), bytes.ReplaceAll(f.Data, []byte(`\0`), []byte{0}))
	}
	return FS{Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys"), Root: filepath.Join(dir, "root")}, want
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestModules compares whole trees with what is wanted of them: each archive
// says at its top what it stands for.
func TestModules(t *testing.T) {
	archives, err := filepath.Glob("testdata/modules/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, archive := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(archive), ".txtar"), func(t *testing.T) {
			fs, want := fixture(t, archive)
			if filepath.Base(archive) == "no-proc.txtar" {
				// Without osrelease the release is uname(2)'s.
				rename(t, fs.root("lib/modules/6.1.0"), fs.root("lib/modules", fs.release()))
			}
			m := fs.Modules(nil, true)
			got := render(fs, &m, want)
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			agreeWithModule(t, fs, &m)
		})
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// render writes what m says about the names that the lines of want begin with.
// Reasons are compared by what want has of them.
func render(fs FS, m *nf.Modules, want string) string {
	var b strings.Builder
	for line := range strings.Lines(want) {
		line = strings.TrimSuffix(line, "\n")
		name, rest, _ := strings.Cut(line, " ")
		switch name {
		case "support":
			got := m.Support
			if _, reason, ok := strings.Cut(rest, ": "); ok && strings.Contains(m.Reason, reason) {
				got += ": " + reason
			} else if m.Reason != "" {
				got += ": " + m.Reason
			}
			fmt.Fprintln(&b, "support", got)
		case "complete", "unknown:":
			switch {
			case m.Complete && m.Unknown == "":
				fmt.Fprintln(&b, "complete")
			case rest != "" && strings.Contains(m.Unknown, rest):
				fmt.Fprintln(&b, "unknown:", rest)
			default:
				fmt.Fprintln(&b, "unknown:", m.Unknown)
			}
		default:
			fmt.Fprintln(&b, renderModule(fs, m, name))
		}
	}
	return b.String()
}

func renderModule(fs FS, m *nf.Modules, name string) string {
	f, ok := m.Find(name)
	switch {
	case !ok && m.Complete:
		return name + " absent"
	case !ok:
		return name + " unknown"
	}
	words := []string{name}
	if f.Name != name {
		words = append(words, "=", f.Name)
	}
	evidence := strings.TrimPrefix(f.Evidence, filepath.Dir(fs.Proc)+"/")
	evidence = strings.TrimPrefix(evidence, "root/")
	if strings.HasPrefix(evidence, "lib/modules/") {
		evidence = filepath.Base(evidence)
	}
	words = append(words, f.State, evidence)
	if f.Refs != 0 {
		words = append(words, fmt.Sprintf("refs=%d", f.Refs))
	}
	if f.Holders != nil {
		words = append(words, "holders="+strings.Join(f.Holders, ","))
	}
	if f.Permanent {
		words = append(words, "permanent")
	}
	if len(f.Deps) > 0 {
		words = append(words, "deps="+strings.Join(f.Deps, ","))
	}
	if f.Barred != (nf.Bar{}) {
		words = append(words, "barred:", f.Barred.String())
	}
	for name, p := range f.Parameters {
		words = append(words, name+"="+p.Value)
	}
	return strings.Join(words, " ")
}

// All that is unknown of a kernel that was updated has one reason.
func TestUpdatedKernel(t *testing.T) {
	fs, _ := fixture(t, "testdata/modules/updated.txtar")
	m := fs.Modules(nil, false)
	if strings.Contains(m.Unknown, "no such file") || !slices.Equal(m.Installed, []string{"6.1.9"}) {
		t.Errorf("%q, installed %q", m.Unknown, m.Installed)
	}
	if err := fs.LoadModule(t.Context(), "nf_tables", nil); err == nil || !strings.Contains(err.Error(), "restart the node into the installed kernel") {
		t.Errorf("loading: %v", err)
	}
}

// agreeWithModule checks that reading one module again says the same, and that
// the list is sorted, without duplicates.
func agreeWithModule(t *testing.T, fs FS, m *nf.Modules) {
	t.Helper()
	for i, f := range m.List {
		if i > 0 && m.List[i-1].Name >= f.Name {
			t.Errorf("%s is listed before %s", m.List[i-1].Name, f.Name)
		}
		again, ok, err := fs.Module(f.Name)
		if !ok || err != nil || fmt.Sprint(again) != fmt.Sprint(f) {
			t.Errorf("Module(%s) = %v, %v, %v, the list has %v", f.Name, again, ok, err, f)
		}
		again, ok, err = fs.Refresh(f)
		if !ok || err != nil || fmt.Sprint(again) != fmt.Sprint(f) {
			t.Errorf("Refresh(%s) = %v, %v, %v, the list has %v", f.Name, again, ok, err, f)
		}
	}
	for alias, name := range m.Aliases {
		if _, ok := m.Find(name); !ok {
			t.Errorf("the alias %s is of %s, not in the list", alias, name)
		}
	}
	_, ok, err := fs.Module("no_such_module")
	if ok || m.Complete != (err == nil) {
		t.Errorf("Module(no_such_module) = %v, %v; the list is complete: %v", ok, err, m.Complete)
	}
}

// Refresh reads what changes while the kernel runs, and takes the rest from what
// was observed.
func TestRefreshModule(t *testing.T) {
	fs, _ := fixture(t, "testdata/modules/debian-6.12.txtar")
	m := fs.Modules(nil, true)
	nat, _ := m.Find("nf_nat")
	ct, _ := m.Find("nft_ct")
	again := func(was nf.ModuleFact) string {
		f, ok, err := fs.Refresh(was)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return "absent"
		}
		return fmt.Sprintf("%s refs %d holders %v deps %d", f.State, f.Refs, f.Holders, len(f.Deps))
	}
	list := fs.proc("modules")
	writeFile(t, list, []byte("nf_nat 61440 2 nft_ct,xt_nat, Live 0x0\nnft_ct 1 0 - Live 0x0\n"))
	if got := again(*nat); got != "loaded refs 2 holders [nft_ct xt_nat] deps 4" {
		t.Errorf("used by more: %s", got)
	}
	if got := again(*ct); got != "loaded refs 0 holders [] deps 6" {
		t.Errorf("loaded since: %s", got)
	}
	writeFile(t, list, []byte("nft_ct 1 0 - Loading 0x0\n"))
	if got := again(*ct); got != "unloaded refs 0 holders [] deps 6" {
		t.Errorf("still loading: %s", got)
	}
	if got := again(*nat); got != "unloaded refs 0 holders [] deps 4" {
		t.Errorf("unloaded since: %s", got)
	}
	writeFile(t, filepath.Join(fs.Root, "lib/modules/6.12.117+deb12-cloud-amd64/modules.dep"), nil)
	if got := again(*nat); got != "absent" {
		t.Errorf("unloaded since, and its file is gone: %s", got)
	}
	writeFile(t, list, []byte("nf_nat 61440 0 - Live 0x0\n"))
	if got := again(*nat); got != "loaded refs 0 holders [] deps 4" {
		t.Errorf("what is loaded needs no file: %s", got)
	}
}

// The list is the same whatever is asked: only parameters are added, to the
// asked modules, by name or alias.
func TestModulesListDoesNotDependOnAsk(t *testing.T) {
	fs, _ := fixture(t, "testdata/modules/debian-6.12.txtar")
	none, asked := fs.Modules(nil, false), fs.Modules([]string{"ip-conntrack", "nonsense"}, false)
	for i := range none.List {
		if none.List[i].Parameters != nil {
			t.Errorf("%s has parameters that were not asked for", none.List[i].Name)
		}
		if asked.List[i].Name == "nf_conntrack" {
			if asked.List[i].Parameters["hashsize"].Value != "65536" {
				t.Errorf("nf_conntrack was asked for by its alias, and has the parameters %v", asked.List[i].Parameters)
			}
			asked.List[i].Parameters = nil
		}
	}
	if fmt.Sprint(none) != fmt.Sprint(asked) {
		t.Errorf("the list depends on what is asked:\n%v\n%v", none, asked)
	}
}

// The parameters that a module takes are read from its file, if it was asked for
// by name, or is netfilter's and everything is asked, and its file names them all
// (include/linux/moduleparam.h).
func TestTakes(t *testing.T) {
	fs, _ := fixture(t, "testdata/modules/debian-6.12.txtar")
	file := func(path string, data []byte) {
		writeFile(t, fs.root("lib/modules/6.12.117+deb12-cloud-amd64/kernel/net", path), compress(t, ".xz", data))
	}
	file("netfilter/nf_conntrack.ko.xz", moduleELF(t, "parmtype=acct:bool\x00", "__param_hashsize", "__param_expect-hashsize"))
	file("netfilter/x_tables.ko.xz", moduleELF(t, "license=GPL\x00", "init_module"))
	file("netfilter/nf_tables.ko.xz", moduleELF(t, "parmtype=a:int\x00"))
	file("netfilter/nf_nat.ko.xz", []byte("damaged"))
	file("8021q/8021q.ko.xz", moduleELF(t, "license=GPL\x00", "__param_a"))
	for all, ask := range map[bool][]string{
		false: {"ip-conntrack", "x_tables", "nf_tables", "nf_nat", "nft_ct", "ext4", "nonsense"},
		true:  nil,
	} {
		m := fs.Modules(ask, all)
		for name, want := range map[string][]string{
			"nf_conntrack": {"acct", "expect_hashsize", "hashsize"},
			"x_tables":     {},
			"nf_tables":    nil, // stripped
			"nf_nat":       nil, // damaged
			"nft_ct":       nil, // no such file
			"ext4":         nil, // built in
			"8021q":        nil, // not asked for
		} {
			if f, _ := m.Find(name); !reflect.DeepEqual(f.Takes, want) {
				t.Errorf("all %v: %s takes %#v, want %#v", all, name, f.Takes, want)
			}
		}
	}
}

// Parameters are writable by their mode, and left out where nobody may read
// them (include/linux/moduleparam.h: perm 0200, or 0 and no file).
func TestParameters(t *testing.T) {
	fs := FS{Sys: t.TempDir()}
	for name, mode := range map[string]os.FileMode{"hashsize": 0o600, "expect_hashsize": 0o400, "secret": 0o200} {
		path := fs.sys("module/nf_conntrack/parameters", name)
		writeFile(t, path, []byte("512\n"))
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]nf.Parameter{"hashsize": {Value: "512", Writable: true}, "expect_hashsize": {Value: "512"}}
	if got := fs.parameters("nf_conntrack"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := fs.SetParameter("nf-conntrack", "hashsize", "1024"); err != nil {
		t.Error(err)
	}
	if got := fs.parameters("nf_conntrack")["hashsize"].Value; !strings.HasPrefix(got, "1024") {
		t.Errorf("hashsize is %q after it was set to 1024", got)
	}
	for _, name := range []string{"../../x", "", "absent"} {
		if err := fs.SetParameter("nf_conntrack", name, "1"); err == nil {
			t.Errorf("the parameter %q was set", name)
		}
	}
}

// levelModules are the modules of all levels.
var levelModules = strings.Fields(`ip_tables iptable_filter iptable_mangle ip6_tables ip6table_filter ip6table_mangle nf_tables
	nf_conntrack nf_conntrack_ipv4 nf_conntrack_ipv6 xt_conntrack nft_ct nf_nat nf_nat_ipv4 nf_nat_ipv6 iptable_nat ip6table_nat
	xt_nat xt_MASQUERADE ipt_MASQUERADE ip6t_MASQUERADE xt_REDIRECT nft_chain_nat nft_chain_nat_ipv4 nft_chain_nat_ipv6 nft_nat
	nft_masq nft_redir`)

// On the kernel that the tests run on, whichever it is, different evidence
// must tell the same: a function in /proc/kallsyms or a file that the module
// registers proves that it is there, and a module is not both.
func TestModulesLive(t *testing.T) {
	m := live.Modules(nil, false)
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if release := unix.ByteSliceToString(u.Release[:]); live.release() != release {
		t.Errorf("release %q, uname(2) says %q", live.release(), release)
	}
	if _, err := os.Stat("/proc/modules"); (err == nil) != (m.Support != nf.SupportNone) {
		t.Errorf("support is %s (%s), and stat of /proc/modules says %v", m.Support, m.Reason, err)
	}
	here := live.kallsymsBuiltin()
	for file, name := range functionalEvidence {
		if _, err := os.Stat(live.proc(file)); err == nil {
			here[name] = true
		}
	}
	for _, name := range levelModules {
		f, ok := m.Find(name)
		if here[name] && (!ok || f.State == nf.ModuleUnloaded) {
			t.Errorf("%s shows in /proc, and the list has %+v", name, f)
		}
		if ok && f.State == nf.ModuleBuiltin && m.Support == nf.SupportNone && kallsymsKnows(name) && !here[name] {
			t.Errorf("%s is said to be built in by %s, and has no function in /proc/kallsyms", name, f.Evidence)
		}
		if ok && f.Evidence == "" {
			t.Errorf("%s has no evidence", name)
		}
	}
	if _, ok := m.Find("no_such_module"); ok {
		t.Error("no_such_module is in the list")
	}
}

func kallsymsKnows(module string) bool {
	for _, name := range kallsymsModules {
		if name == module {
			return true
		}
	}
	return false
}

// Every name of a level, of the functional evidence and of kallsyms is
// in the table of configuration symbols, each once.
func TestKconfigModules(t *testing.T) {
	var names []string
	for word := range strings.FieldsSeq(kconfigModules) {
		name, _, _ := strings.Cut(word, "=")
		names = append(names, name)
	}
	for _, name := range levelModules {
		if !slices.Contains(names, name) {
			t.Errorf("%s is a level's and not in the table", name)
		}
	}
	for _, name := range kallsymsModules {
		if !slices.Contains(names, name) {
			t.Errorf("%s has a function and is not in the table", name)
		}
	}
	slices.Sort(names)
	if len(names) != len(slices.Compact(slices.Clone(names))) {
		t.Error("a module is in the table twice")
	}
}

// Parsers of files that anything may have damaged return, whatever they read.
func FuzzModuleFiles(f *testing.F) {
	archives, _ := filepath.Glob("testdata/modules/*.txtar")
	for _, archive := range archives {
		ar, err := txtar.ParseFile(archive)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			f.Add(file.Data)
		}
	}
	f.Add([]byte("a.b=\"c d\" -- module_blacklist=x,"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parseProcModules(data)
		files, _ := parseDep(data)
		if _, cut := parseDep(append(data, "\nkernel/a.ko:"...)); cut == 0 {
			t.Errorf("%q was cut off, and is not called damaged", data)
		}
		tree := tree{files: files, builtin: parseBuiltin(data), pre: parseSoftdep(data)}
		for name := range files {
			if slices.Contains(tree.deps(name, func(string) bool { return false }), name) {
				t.Errorf("%s needs itself", name)
			}
		}
		aliases := map[string]string{}
		parseAlias(data, aliases)
		parseBuiltinAlias(data, aliases)
		for alias, name := range aliases {
			if !isName(alias) || !isName(name) {
				t.Errorf("alias %q of %q", alias, name)
			}
		}
		parseKconfig(data).modules()
		parseKallsyms(data)
		parseModprobeConf(data, "x")
		parseCmdline(data)
		parseModinfo(data)
		_, _ = moduleParameters(data)
		lockdownMode(string(data))
	})
}
