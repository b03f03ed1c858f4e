package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"nfsync.dev/nfsync/bench/bare"
)

// hostKeys is the number of sysctls of the node.
const hostKeys = 20

// askHost measures the node's own sysctls.
func (b *bench) askHost() error {
	t := b.table("How long does it take to check the sysctls of the node itself?",
		fmt.Sprintf("%d conntrack timeouts, which are right already. The node is a network namespace, and `/etc/sysctl.d` the scene's. `nfsync plan` compares\nthe live values and the file for the next start. `sysctl --system` compares nothing: it writes every value again. `sysctl -n` only reads.", hostKeys))
	b.begin(t, "")
	files, err := timeoutFiles()
	if err != nil {
		return err
	}
	if len(files) < hostKeys {
		return fmt.Errorf("this kernel has only %d conntrack timeouts", len(files))
	}
	var conf, wanted strings.Builder
	var names []string
	for _, file := range files[:hostKeys] {
		value, err := bare.Read(file)
		if err != nil {
			return err
		}
		fmt.Fprintf(&conf, "net.netfilter.%s = %s\n", file, value)
		fmt.Fprintf(&wanted, "      %s: %s\n", timeoutName(file), value)
		names = append(names, "net.netfilter."+file)
	}
	dir, err := writeFiles("host", map[string]string{"node.yaml": "apiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\nmetadata: {name: node}\nspec:\n  conntrack:\n    timeouts:\n" + wanted.String()})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(confDir, "10-conntrack.conf"), []byte(conf.String()), 0o644); err != nil {
		return err
	}
	// The file for the next start is not there yet.
	if _, err := b.start(b.onNode("apply", dir, "--yes")); err != nil {
		return err
	}
	scene := count(hostKeys, "key", "keys")
	nfsync := t.add(row{what: "`nfsync plan`", scene: scene})
	nfsync.base = nfsync
	add := func(what string) *row { return t.add(row{what: what, scene: scene, base: nfsync}) }
	return b.measure(3*b.rounds,
		runner{row: nfsync, run: b.program(b.onNode("plan", dir, "--detailed-exitcode"))},
		runner{row: add("`sysctl --system`"), run: b.program(command{args: []string{"sysctl", "-q", "--system"}})},
		runner{row: add("`sysctl -n`"), run: b.program(command{args: append([]string{"sysctl", "-n"}, names...)})},
		runner{row: add("bare reads in Go"), run: b.program(b.floor(append([]string{"read"}, files[:hostKeys]...)...))})
}

// timeoutFiles returns the sysctls of this kernel that are timeouts of conntrack.
func timeoutFiles() ([]string, error) {
	paths, err := filepath.Glob(bare.Sysctl("nf_conntrack_*_timeout*"))
	return each(paths, filepath.Base), err
}

// timeoutName returns the name in a policy: that of nf_conntrack_tcp_timeout_syn_sent is tcpSynSent.
func timeoutName(file string) string {
	words := strings.Split(strings.Replace(strings.TrimPrefix(file, "nf_conntrack_"), "_timeout", "", 1), "_")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}
