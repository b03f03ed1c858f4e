package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"nfsync.dev/nfsync/bench/bare"
	"nfsync.dev/nfsync/internal/netns"
)

// nodeName is the name of the node of the scenes.
const nodeName = "hn-00001"

// keys are the sysctls that the policies are about, as files below /proc/sys/net/netfilter.
// keyNames has their names in policies.
var (
	keys     = []string{"nf_conntrack_tcp_timeout_established", "nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream", "nf_conntrack_generic_timeout"}
	keyNames = []string{"tcpEstablished", "udp", "udpStream", "generic"}
)

// The values of keys[0], in turn, and of the others.
var (
	firstValues = [2]int{7200, 10800}
	otherValues = []int{45, 180, 300}
)

// grow makes network namespaces until there are n, with the values of the others.
func (b *bench) grow(n int) error {
	b.say("making %s", count(n-b.count, "namespace", "namespaces"))
	for ; b.count < n; b.count++ {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		if err := netns.Create(filepath.Join(netnsDir, fmt.Sprintf("c%05d", b.count+1))); err != nil {
			return err
		}
	}
	b.value = firstValues[0]
	for i, value := range append([]int{b.value}, otherValues...) {
		if err := bare.Apply(netnsDir, keys[i], strconv.Itoa(value)); err != nil {
			return err
		}
	}
	return b.verify()
}

// other returns the value that keys[0] has in no namespace.
func (b *bench) other() int {
	if b.value == firstValues[0] {
		return firstValues[1]
	}
	return firstValues[0]
}

// verify returns an error if a namespace has another value than the last run should have set. It
// reads through private procfs, so that it fills no cache that a run uses.
func (b *bench) verify() error {
	paths, err := bare.Namespaces(netnsDir)
	if err != nil {
		return err
	}
	if len(paths) != b.count {
		return fmt.Errorf("there are %d namespaces, not %d", len(paths), b.count)
	}
	return bare.Verify(paths, keys[0], strconv.Itoa(b.value))
}

// dropDentries makes the kernel forget the names that it has looked up, those of /proc among them.
func dropDentries() error {
	const dentriesAndInodes = "2" // proc_sys_vm(5)
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte(dentriesAndInodes), 0)
}

// state is what the kernel's cache of names has when a program starts.
type state struct {
	name   string
	before func() error
}

// The states of the cache.
var (
	first = state{"first", dropDentries}
	again = state{"again", nil}
)

// scene returns the name of a scene of namespaces.
func (s state) scene(n int) string { return count(n, "namespace", "namespaces") + ", " + s.name }

// writePolicy writes a policy for all containers in a directory of its own and returns that. It
// wants these values of the first keys.
func writePolicy(name string, values ...int) (string, error) {
	var timeouts []string
	for i, v := range values {
		timeouts = append(timeouts, fmt.Sprintf("%s: %d", keyNames[i], v))
	}
	text := fmt.Sprintf("apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: all}\nspec: {conntrack: {timeouts: {%s}}}\n", strings.Join(timeouts, ", "))
	return writeFiles(name, map[string]string{"policy.yaml": text})
}

// writeFiles writes files below a directory of the scenes, which it makes anew.
func writeFiles(name string, files map[string]string) (dir string, err error) {
	dir = filepath.Join(scenes, name)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}
