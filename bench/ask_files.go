package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// askStart measures what every run of nfsync takes.
func (b *bench) askStart() error {
	t := b.table("How long does nfsync take to start?", "`nfsync version` does nothing else. It is part of each time of nfsync below.")
	b.begin(t, "")
	version := t.add(row{what: "`nfsync version`"})
	version.base = version
	bare := t.add(row{what: "`sh -c :`", base: version})
	return b.measure(3*b.rounds, runner{row: version, run: b.program(command{args: []string{b.nfsync, "version"}})},
		runner{row: bare, run: b.program(shell(":"))})
}

// policyFile returns a policy as a large repository has it: one a node.
func policyFile(i int) string {
	return fmt.Sprintf(`apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: web-%05d}
spec:
  priority: 10
  nodes:
    names: [hn-%05[1]d]
  containers:
    names: ["web-*"]
  level: stateful
  conntrack:
    timeouts:
      tcpEstablished: 2h
      udp: 45s
`, i+1)
}

// policyFiles makes a directory of policy files.
func policyFiles(n int) (string, error) {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("hn-%05d.yaml", i+1)] = policyFile(i)
	}
	return writeFiles(fmt.Sprintf("policies-%d", n), files)
}

// askParse measures reading and checking policy files.
func (b *bench) askParse() error {
	t := b.table("How long does it take to check policy files?",
		"`nfsync validate` of a directory of files of one policy each, beside a program that reads the same files and parses them with yaml.v3,\nthe library that nfsync uses, and checks nothing. The files are in memory.")
	for _, n := range b.files {
		b.begin(t, count(n, "file", "files"))
		dir, err := policyFiles(n)
		if err != nil {
			return err
		}
		scene := count(n, "file", "files")
		validate := t.add(row{what: "`nfsync validate`", scene: scene})
		validate.base = validate
		bare := t.add(row{what: "bare yaml.v3", scene: scene, base: validate})
		if err := b.measure(b.rounds, runner{row: validate, run: b.program(b.plain("validate", dir))},
			runner{row: bare, run: b.program(b.floor("yaml", dir))}); err != nil {
			return err
		}
	}
	return nil
}

// askFetch measures fetching a repository.
func (b *bench) askFetch() error {
	n := b.files[len(b.files)-1]
	t := b.table("How long does it take to fetch a repository?",
		"A repository of "+count(n, "policy file", "policy files")+" and one commit, served by git's own server over http. nfsync fetches the commit, parses every file\nof it and plans from a snapshot; git clones, with a checkout or without, and looks at no file. The rows that have nothing to fetch begin with a\nclone that has the commit. nfsync's clone and git's are on disk.")
	b.begin(t, "")
	source, err := b.makeRepository(n)
	if err != nil {
		return err
	}
	server, url, err := b.serve(filepath.Dir(source))
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	snapshot, err := b.writeSnapshot("one.json", 1, len(keys), "web-")
	if err != nil {
		return err
	}
	clone, state := filepath.Join(b.work, "clone"), filepath.Join(b.work, "fetched")
	fresh := func() error { return errors.Join(os.RemoveAll(clone), os.RemoveAll(state)) }
	plan := func(args ...string) command {
		return command{args: append([]string{b.nfsync, "plan", "--config", "none", "--snapshot", snapshot, "--state-dir", state}, args...)}
	}
	scene := count(n, "file", "files")
	nfsync := t.add(row{what: "`nfsync plan --git`, first", scene: scene})
	nfsync.base = nfsync
	add := func(what string, base *row) *row { return t.add(row{what: what, scene: scene, base: base}) }
	bare := add("`git clone --bare`", nfsync)
	whole := add("`git clone`", nfsync)
	err = b.measure(b.rounds,
		runner{row: nfsync, before: fresh, run: b.program(plan("--git", url))},
		runner{row: bare, before: fresh, run: b.program(command{args: []string{"git", "clone", "-q", "--bare", url, clone}})},
		runner{row: whole, before: fresh, run: b.program(command{args: []string{"git", "clone", "-q", url, clone}})})
	if err != nil {
		return err
	}
	if _, err := b.start(plan("--git", url)); err != nil {
		return err
	}
	same := add("`nfsync plan --git`, nothing to fetch", nil)
	same.base = same
	return b.measure(b.rounds,
		runner{row: same, run: b.program(plan("--git", url))},
		runner{row: add("`git fetch`, nothing to fetch", same), run: b.program(command{args: []string{"git", "-C", clone, "fetch", "-q"}})},
		runner{row: add("`nfsync plan --git`, a repository of this machine", same), run: b.program(plan("--git", source))},
		runner{row: add("`nfsync plan`, the same files in a directory", same), run: b.program(plan(filepath.Join(scenes, fmt.Sprintf("policies-%d", n))))})
}

// repository is the directory of the repository that is served.
const repository = "policies.git"

// makeRepository commits policy files to a bare repository.
func (b *bench) makeRepository(n int) (string, error) {
	dir, err := policyFiles(n)
	if err != nil {
		return "", err
	}
	bare := filepath.Join(scenes, "served", repository)
	script := fmt.Sprintf(`git init -q -b main --bare %[1]s
export GIT_DIR=%[1]s GIT_WORK_TREE=%[2]s
git add -A
git -c user.name=bench -c user.email=bench@example.com commit -q -m policies
git repack -q -a -d`, bare, dir)
	_, err = b.start(shell(script))
	return bare, err
}

// serve starts git's own server over http for the repositories below a directory, on the loopback
// device of this network namespace. It returns the URL of the repository.
func (b *bench) serve(dir string) (io.Closer, string, error) {
	if _, err := b.start(command{args: []string{"ip", "link", "set", "lo", "up"}}); err != nil {
		return nil, "", err
	}
	programs, err := b.command(command{args: []string{"git", "--exec-path"}}).Output()
	if err != nil {
		return nil, "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	handler := &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(programs)), "git-http-backend"), Stderr: io.Discard,
		Env: append(slices.Clone(b.env), "GIT_PROJECT_ROOT="+dir, "GIT_HTTP_EXPORT_ALL=1")}
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(listener) }() // until it is closed
	return server, "http://" + listener.Addr().String() + "/" + repository, nil
}
