package spec

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/nf"
)

// selectorOf parses a selector of containers.
func selectorOf(t *testing.T, containers string) ContainerSelector {
	t.Helper()
	return parsed(t, File{Name: "x", Data: []byte(policy("x", "{containers: "+containers+"}"))})[0].Containers
}

// TestLabelSelector: all of the labels must be equal, beside names, ids and runtimes, and no container
// whose labels are not known is selected by them.
func TestLabelSelector(t *testing.T) {
	web := nf.Container{Runtime: nf.RuntimeDocker, ID: "9f2c", Name: "web", Labels: map[string]string{"app": "web", "tier": "prod", "empty": ""}}
	unknown := nf.Container{Runtime: nf.RuntimePodman, ID: "a01b", Name: "web", LabelsUnknown: "no socket"}
	stale := unknown
	stale.Labels = web.Labels
	none := nf.Container{Runtime: nf.RuntimeNetns, ID: "web", Name: "web"}
	for _, test := range []struct {
		containers string
		want       []bool // of web, unknown, stale and none
	}{
		{"{}", []bool{true, true, true, true}},
		{"{names: [web]}", []bool{true, true, true, true}},
		{"{labels: {app: web}}", []bool{true, false, false, false}},
		{"{labels: {app: web, tier: prod}}", []bool{true, false, false, false}},
		{"{labels: {app: web, tier: test}}", []bool{false, false, false, false}},
		{"{labels: {app: web, zone: a}}", []bool{false, false, false, false}},
		{"{labels: {app: 'we*'}}", []bool{false, false, false, false}},
		{"{labels: {App: web}}", []bool{false, false, false, false}},
		{"{labels: {empty: ''}}", []bool{true, false, false, false}},
		{"{labels: {zone: ''}}", []bool{false, false, false, false}},
		{"{labels: {app: web}, names: ['w*']}", []bool{true, false, false, false}},
		{"{labels: {app: web}, names: [db]}", []bool{false, false, false, false}},
		{"{labels: {app: web}, names: [db], ids: [9f2c]}", []bool{true, false, false, false}},
		{"{labels: {app: web}, runtimes: [docker, podman]}", []bool{true, false, false, false}},
		{"{labels: {app: web}, runtimes: [podman]}", []bool{false, false, false, false}},
	} {
		var got []bool
		s := selectorOf(t, test.containers)
		for _, c := range []*nf.Container{&web, &unknown, &stale, &none} {
			got = append(got, s.Match(c))
		}
		if !cmp.Equal(got, test.want) {
			t.Errorf("%s selects %v", test.containers, got)
		}
	}
}

// TestRuntimeSelector holds policies to take every runtime, and ids to be what the runtime has: of pods
// the uid, and no alias, as of network namespaces.
func TestRuntimeSelector(t *testing.T) {
	for _, runtime := range nf.Runtimes() {
		s := selectorOf(t, "{runtimes: ["+runtime+"]}")
		for _, other := range nf.Runtimes() {
			if got := s.Match(&nf.Container{Runtime: other, ID: "1", Name: "1"}); got != (other == runtime) {
				t.Errorf("runtimes: [%s] selects a container of %s: %t", runtime, other, got)
			}
		}
	}
	pod := nf.Container{Runtime: nf.RuntimeCRI, ID: "6a0c0b6e-8f0f", Name: "kube-system/coredns-1", Aliases: []string{"b7e1"}}
	for containers, want := range map[string]bool{
		"{names: ['kube*']}":         false, // path.Match: a * does not match a slash
		"{names: ['*/*']}":           true,
		"{names: ['kube-system/*']}": true,
		"{names: ['*/coredns-*']}":   true,
		"{names: [coredns-1]}":       false,
		"{names: [b7e1]}":            true,
		"{ids: [6a0c0b6e-8f0f]}":     true,
		"{ids: [b7e1]}":              false,
	} {
		if got := selectorOf(t, containers).Match(&pod); got != want {
			t.Errorf("%s: %t", containers, got)
		}
	}
}

func TestUseLabels(t *testing.T) {
	node := nf.NodeIdentity{Name: "hn-1"}
	for spec, want := range map[string]bool{
		"{level: full}":                                                       false,
		"{nodes: {labels: {a: b}}, level: full}":                              false,
		"{containers: {names: [web]}}":                                        false,
		"{containers: {labels: {app: web}}}":                                  true,
		"{nodes: {names: ['hn-*']}, containers: {labels: {app: web}}}":        true,
		"{nodes: {names: ['vm-*']}, containers: {labels: {app: web}}}":        false,
		"{containers: {names: [web], runtimes: [netns], labels: {app: web}}}": true,
	} {
		if got := parsed(t, File{Name: "x", Data: []byte(policy("x", spec))}).UseLabels(node); got != want {
			t.Errorf("%s: %t", spec, got)
		}
	}
}

// TestLabelsUnknown: a policy that would select containers with the right labels says once for each
// runtime that it does not, and not that it selects nothing. Runtimes without labels are silent.
func TestLabelsUnknown(t *testing.T) {
	s := nf.Snapshot{Node: nf.NodeIdentity{Name: "hn-1"}, Containers: []nf.Container{
		{Runtime: nf.RuntimeCRI, ID: "u1", Name: "shop/web", LabelsUnknown: "no file"},
		{Runtime: nf.RuntimeDocker, ID: "d1", Name: "web", Labels: map[string]string{"app": "web"}},
		{Runtime: nf.RuntimeNetns, ID: "n1", Name: "web"},
		{Runtime: nf.RuntimePodman, ID: "p1", Name: "web", LabelsUnknown: "no socket"},
		{Runtime: nf.RuntimePodman, ID: "p2", Name: "db", LabelsUnknown: "timeout"},
		{Runtime: nf.RuntimePodman, ID: "p3", Name: "web-2", LabelsUnknown: "no socket"},
		{Runtime: nf.RuntimeVZ, ID: "101", Name: "web"},
	}}
	for _, test := range []struct {
		containers string
		want       string
	}{
		{"{names: [web]}", ""},
		{"{labels: {app: web}}", `labels-unknown x:4:18 the ContainerPolicy "x" does not select 1 container of cri whose labels are unknown: no file
labels-unknown x:4:18 the ContainerPolicy "x" does not select 3 containers of podman whose labels are unknown: no socket; others have other reasons`},
		{"{labels: {app: db}, runtimes: [docker, cri]}", `labels-unknown x:4:18 the ContainerPolicy "x" does not select 1 container of cri whose labels are unknown: no file`},
		{"{labels: {app: web}, names: ['web*'], ids: [p3]}", `labels-unknown x:4:18 the ContainerPolicy "x" does not select 2 containers of podman whose labels are unknown: no socket`},
		{"{labels: {app: web}, names: ['*eb*']}", `labels-unknown x:4:18 the ContainerPolicy "x" does not select 2 containers of podman whose labels are unknown: no socket`},
		{"{labels: {app: web}, names: [nobody]}", `selects-nothing x:4:18 the ContainerPolicy "x" selects no container of this node`},
		{"{labels: {app: web}, runtimes: [vz, netns]}", `selects-nothing x:4:18 the ContainerPolicy "x" selects no container of this node`},
		{"{labels: {app: db}, runtimes: [docker]}", `selects-nothing x:4:18 the ContainerPolicy "x" selects no container of this node`},
	} {
		var got []string
		for _, w := range parsed(t, File{Name: "x", Data: []byte(policy("x", "{containers: "+test.containers+", level: full}"))}).Resolve(&s).Warnings {
			got = append(got, fmt.Sprintf("%s %s %s", w.Code, w.Source, w.Message))
		}
		if diff := cmp.Diff(test.want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%s: %s", test.containers, diff)
		}
	}
}

// TestResolveEachByLabel prints what ten thousand policies with labels for as many containers take, if
// the labels are known and if they are not.
func TestResolveEachByLabel(t *testing.T) {
	const many = 10_000
	for _, unknown := range []string{"", "no socket"} {
		var s nf.Snapshot
		var policies Policies
		for i := range many {
			name := fmt.Sprintf("web-%d", i)
			labels := map[string]string{"app": "web", "name": name}
			s.Containers = append(s.Containers, nf.Container{Runtime: nf.RuntimePodman, ID: name, Name: name, Labels: labels, LabelsUnknown: unknown})
			selector := ContainerSelector{Labels: labels, Names: [][]string{nil, {name}, {name + "*"}}[i%3]}
			policies = append(policies, Policy{Kind: nf.KindContainerPolicy, Source: nf.Source{Name: name}, Containers: selector,
				Wishes: []KeyWish{{Key: nf.KeyMax, Wish: nf.Exactly(nf.Number(int64(i + 1)))}}})
		}
		start := time.Now()
		wants := policies.Resolve(&s)
		t.Logf("%d policies for %d containers, %d wants and %d warnings: %v", many, many, len(wants.List), len(wants.Warnings), time.Since(start))
		if known := unknown == ""; known != (len(wants.List) == many) || known != (len(wants.Warnings) == 0) {
			t.Errorf("%d wants and %d warnings", len(wants.List), len(wants.Warnings))
		}
	}
}
