package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"nfsync.dev/nfsync/bench/bare"
)

// ansibleRunner changes the value with ansible: each namespace is a host of the inventory, whose
// Python runs in it, since the module works on the namespace of its Python.
func (b *bench) ansibleRunner(r *row) (runner, error) {
	dir := filepath.Join(scenes, "ansible")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return runner{}, err
	}
	paths, err := bare.Namespaces(netnsDir)
	if err != nil {
		return runner{}, err
	}
	var inventory strings.Builder
	for _, path := range paths {
		name := filepath.Base(path)
		python := filepath.Join(dir, "python-"+name)
		if err := os.WriteFile(python, fmt.Appendf(nil, "#!/bin/sh\nexec ip netns exec %s /usr/bin/python3 \"$@\"\n", name), 0o755); err != nil {
			return runner{}, err
		}
		fmt.Fprintf(&inventory, "%s ansible_connection=local ansible_python_interpreter=%s\n", name, python)
	}
	hosts := filepath.Join(dir, "hosts")
	if err := os.WriteFile(hosts, []byte(inventory.String()), 0o644); err != nil {
		return runner{}, err
	}
	slow := b.setter(r, again, func(value int) (command, error) {
		book := filepath.Join(dir, "book.yaml")
		err := os.WriteFile(book, fmt.Appendf(nil, `- hosts: all
  gather_facts: false
  tasks:
    - ansible.posix.sysctl:
        name: net.netfilter.%s
        value: "%d"
        sysctl_set: true
        reload: false
        sysctl_file: %s/{{ inventory_hostname }}.conf
`, keys[0], value, dir), 0o644)
		return command{args: []string{"ansible-playbook", "-i", hosts, book}, dir: dir}, err
	})
	slow.most = 1
	return slow, nil
}
