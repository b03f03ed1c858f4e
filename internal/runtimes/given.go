package runtimes

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// givers return the record of a container that a hook gives, without its process; false if it is none of
// that runtime. p is nil if the container is given by a file.
var givers = map[string]func(n Node, g nf.Given, p *netns.Process) (record, bool){
	nf.RuntimeDocker: givenDocker, nf.RuntimePodman: givenPodman, nf.RuntimeCRI: givenPod, nf.RuntimeLXC: givenMonitored(describeLXC), nf.RuntimeIncus: givenMonitored(describeIncus),
}

// Given returns the container that a hook gives, once its network namespace exists and before its program
// runs. nothing says why it is no container here: it is in the node's namespace, or none of the runtimes
// knows it. The error says why it is not known, or why it cannot be what the hook says.
func (n Node) Given(g nf.Given) (c nf.Container, nothing string, err error) {
	if err := checkGiven(g); err != nil {
		return c, "", err
	}
	m, p, err := n.findGiven(g)
	if err != nil {
		return c, "", err
	}
	if p != nil {
		defer p.Close()
	}
	if n.isOwn(m.ns) {
		return c, "it is in the node's own network namespace", nil
	}
	for _, name := range g.Runtimes {
		describe := givers[name]
		if describe == nil {
			return c, "", fmt.Errorf("runtime %q has no hook", name)
		}
		r, ok := describe(n, g, p)
		if !ok {
			continue
		}
		if r.unnamed != "" {
			return c, "", errors.New(r.unnamed)
		}
		m.record = r
		c = toContainer(name, m, nil, "")
		if slices.ContainsFunc(all, func(r runtime) bool { return r.name == name && r.labels != nil }) {
			c.LabelsUnknown = "it is being made: " + name + " is asked for them later"
		}
		return c, "", nil
	}
	return c, "it is not known to " + strings.Join(g.Runtimes, " or "), nil
}

// maxGiven bounds the id, each name and the path that a hook gives, in bytes.
const maxGiven = 4096

// checkGiven returns an error for what no hook can mean.
func checkGiven(g nf.Given) error {
	for _, text := range append([]string{g.ID, g.Name, g.File, g.Bundle}, g.Aliases...) {
		if len(text) > maxGiven || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return errors.New("its id, a name or its file is too long, or has characters that cannot be printed")
		}
	}
	switch {
	case g.ID == "":
		return errors.New("it has no id")
	case (g.PID > 0) == (g.File != ""), g.PID < 0:
		return errors.New("it is given by neither its process nor the file of its network namespace, or by both")
	case g.File != "" && !filepath.IsAbs(g.File):
		return fmt.Errorf("the file of its network namespace has no absolute path: %s", g.File)
	}
	return nil
}

// findGiven finds the network namespace of a container that a hook gives. The process is nil if it is given
// by a file; else the caller closes it.
func (n Node) findGiven(g nf.Given) (m member, p *netns.Process, err error) {
	if g.File != "" {
		ns, err := n.Thread.Identify(g.File)
		if err != nil {
			return m, nil, fmt.Errorf("cannot identify its network namespace: %w", err)
		}
		return member{entry: nf.Entry{File: g.File}, ns: ns, instance: n.instance(ns, 0)}, nil, nil
	}
	if p, err = n.openProcess(g.PID, 0); err != nil {
		return m, nil, fmt.Errorf("cannot find its first process: %w", err)
	}
	ns, err := n.identify(p)
	if err != nil {
		p.Close()
		return m, nil, fmt.Errorf("cannot identify its network namespace: %w", err)
	}
	return member{entry: nf.Entry{PID: p.PID, Start: p.Start}, ns: ns, instance: n.instance(ns, p.Start)}, p, nil
}

// givenDocker finds what dockerd knows of a container. Its OCI runtime has made the directory of its state,
// and nothing in it.
func givenDocker(n Node, g nf.Given, _ *netns.Process) (record, bool) {
	if !isDockerID(g.ID) {
		return record{}, false
	}
	for _, dir := range dockerStates(n) {
		if at := filepath.Join(dir, g.ID); first(at) != "" {
			r := record{id: g.ID}
			n.describeDocker(&r, at, append(n.dockerRoots(), n.bundleRoots(g)...))
			return r, true
		}
	}
	return record{}, false
}

// bundleRoots returns the data roots of dockerd that may be those of a container, from the files of dockerd
// that its bundle mounts. With userns-remap the data root has a directory for each remapping.
func (n Node) bundleRoots(g nf.Given) []string {
	if g.Bundle == "" {
		return nil
	}
	data, err := n.read(n.path(g.Bundle, "config.json"))
	if err != nil {
		return nil
	}
	sources, _ := parseBundleMounts(data) // none, with an error
	for _, source := range sources {
		if at := filepath.Dir(source); filepath.Base(at) == g.ID && filepath.Base(filepath.Dir(at)) == "containers" {
			root := filepath.Dir(filepath.Dir(at))
			return []string{root, filepath.Dir(root)}
		}
	}
	return nil
}

// parseBundleMounts returns the sources of the mounts of config.json of a bundle (config.md of
// opencontainers/runtime-spec).
func parseBundleMounts(data []byte) (sources []string, err error) {
	var c struct {
		Mounts []struct {
			Source string `json:"source"`
		} `json:"mounts"`
	}
	err = json.Unmarshal(data, &c)
	for _, m := range c.Mounts {
		sources = append(sources, m.Source)
	}
	return sources, err
}

// givenPodman finds what the storage of root's Podman has of a container.
func givenPodman(n Node, g nf.Given, _ *netns.Process) (record, bool) {
	if !isDockerID(g.ID) {
		return record{}, false
	}
	s := n.rootStorage().find(g.ID, func() string { return g.Bundle })
	if s.name == "" && s.config.manager == "" && s.err == nil || !s.isPodmans() {
		return record{}, false
	}
	return n.describePodman(podmanContainer{record{id: g.ID}, s}, 0, false), true
}

// givenPod is the pod that a chained CNI plugin is called for. Its id and its name are those that kubelet
// has given to the runtime.
func givenPod(_ Node, g nf.Given, p *netns.Process) (record, bool) {
	if p != nil {
		return record{}, false
	}
	r := record{id: g.ID, name: g.Name, aliases: g.Aliases, unnamed: checkName(g.Name), pod: true}
	if namespace, name, ok := strings.Cut(g.Name, "/"); r.unnamed == "" && (!ok || namespace == "" || name == "" || strings.Contains(name, "/")) {
		r.unnamed = fmt.Sprintf("%q is not the namespace and the name of a pod", g.Name)
	}
	return r, true
}

// givenMonitored returns what describes a container of LXC, or of what rests on it, by the monitor that has
// made its process.
func givenMonitored(describe func(dir, name string) (record, bool)) func(Node, nf.Given, *netns.Process) (record, bool) {
	return func(n Node, g nf.Given, p *netns.Process) (record, bool) {
		if p == nil {
			return record{}, false
		}
		command, err := n.monitorOf(p)
		if err != nil {
			return record{}, false
		}
		dir, name, ok := parseMonitor(command)
		if !ok || name != g.ID {
			return record{}, false
		}
		return describe(dir, name)
	}
}
