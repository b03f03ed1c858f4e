package kernel

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// modprobeTree makes a tree of modules for the real modprobe(8): none needs another one.
func modprobeTree(t *testing.T, names ...string) string {
	t.Helper()
	for _, program := range []string{"modprobe", "depmod"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("the test needs %s: %v", program, err)
		}
	}
	dir := t.TempDir()
	for _, name := range names {
		writeFile(t, filepath.Join(dir, "lib/modules/1.0/kernel", name+".ko"), moduleELF(t, "license=GPL\x00", "init_module"))
	}
	for _, name := range []string{"modules.order", "modules.builtin"} {
		writeFile(t, filepath.Join(dir, "lib/modules/1.0", name), nil)
	}
	if out, err := exec.Command("depmod", "-b", dir, "1.0").CombinedOutput(); err != nil {
		t.Fatalf("depmod: %v\n%s", err, out)
	}
	return dir
}

// realModprobe runs modprobe(8) with the configuration of a directory, and returns the
// lines that it prints.
func realModprobe(t *testing.T, tree, conf string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("modprobe", append([]string{"-S", "1.0", "-d", tree, "-C", conf}, args...)...)
	out, err := cmd.Output() // its errors are about lines that it ignores
	if err != nil && len(out) > 0 {
		t.Fatalf("modprobe %v: %v\n%s", args, err, out)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// modprobeWords are what the lines of a generated file are made of.
var modprobeWords = []string{"options", "install", "blacklist", "alias", "softdep", "remove", "include", "#", "ip_set", "ip-set", "xt_a", "xt-*", "xt_?", "ip_[!x]et", "ip_[s-]et", "[", "a]", "off",
	"max_sets=5", "a=\"b  c\"", "=", "/bin/false", "/bin/true # why", "echo off; exit 1", "\\", "\\\n", "\r", "\n", "\n", "\n", " ", "\t", "  ", "\\\\", "-"}

func generated(words []string, r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(40) {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteString([]string{" ", " ", "", "\t", "\n"}[r.IntN(5)])
	}
	return b.String()
}

// The rules that are read of generated files are those that the real modprobe(8) reads,
// in its order of files; whether a module is loaded, by a command, or not at all, and
// with which parameters, is the same too.
func TestModprobeConfLikeModprobe(t *testing.T) {
	modules := []string{"ip_set", "xt_a", "xt_b"}
	tree := modprobeTree(t, modules...)
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(1, seed))
		root := t.TempDir()
		fs := FS{Proc: filepath.Join(root, "proc"), Root: root}
		for _, name := range []string{"b.conf", "a.conf", ".h.conf", "a.conf.bak", "c.alias", "B.conf", "d.conf/x"} {
			writeFile(t, filepath.Join(root, "etc/modprobe.d", name), []byte(generated(modprobeWords, r)))
		}
		conf := filepath.Join(root, "etc/modprobe.d")
		files, _ := os.ReadDir(conf)
		text := ""
		for _, f := range files {
			data, _ := os.ReadFile(filepath.Join(conf, f.Name()))
			text += fmt.Sprintf("-- %s --\n%q\n", f.Name(), data)
		}
		rules := fs.modprobeRules()
		printed := realModprobe(t, tree, conf, "-c")
		for _, command := range []string{nf.DirectiveOptions, nf.DirectiveInstall, nf.DirectiveBlacklist, nf.DirectiveAlias} {
			var got, want []string
			for _, rule := range rules {
				if rule.command == command {
					got = append(got, strings.TrimRight(rule.command+" "+rule.module+" "+rule.rest, " "))
				}
			}
			for _, line := range printed {
				if strings.HasPrefix(line, command+" ") {
					want = append(want, strings.TrimRight(line, " "))
				}
			}
			if want = fromFiles(want); !slices.Equal(got, want) {
				t.Fatalf("%s: %q, modprobe has %q\n%s", command, got, want, text)
			}
		}
		for _, module := range modules {
			compareLoad(t, rules, module, realModprobe(t, tree, conf, "--show-depends", module), text)
		}
	}
}

// fromFiles leaves out what modprobe(8) has read from the kernel's command line of this
// machine.
func fromFiles(lines []string) []string {
	data, _ := os.ReadFile(cmdlineFile)
	cmdline := parseCmdline(data)
	return slices.DeleteFunc(lines, func(line string) bool {
		return slices.ContainsFunc(cmdline, func(r modprobeRule) bool { return strings.HasPrefix(line, r.command+" "+r.module) })
	})
}

// compareLoad compares what is done about one module.
func compareLoad(t *testing.T, rules []modprobeRule, module string, printed []string, text string) {
	t.Helper()
	config := modprobeConfig{slices.DeleteFunc(slices.Clone(rules), func(r modprobeRule) bool {
		return r.command == nf.DirectiveBlacklist || r.command == nf.DirectiveOptions
	}), &tree{}}
	bar := config.bar(module)
	loads := slices.ContainsFunc(printed, func(line string) bool { return strings.Contains(line, "/"+module+".ko") })
	if loads != (bar == nf.Bar{}) {
		t.Fatalf("%s is barred by %v, and modprobe prints %q\n%s", module, bar, printed, text)
	}
	if !loads || len(config.meanings(module)) > 0 {
		return
	}
	want := strings.Fields(strings.SplitN(printed[0], module+".ko", 2)[1])
	if got := strings.Fields(modprobeOptions(rules, module)); !slices.Equal(got, want) {
		t.Fatalf("%s has the options %q, modprobe %q\n%s", module, got, want, text)
	}
}
