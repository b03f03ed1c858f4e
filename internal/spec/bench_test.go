package spec

import (
	"encoding/json"
	"fmt"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// sizes are how many of something the benchmarks have.
var sizes = []int{100, 1_000, 10_000}

// eachSize runs a benchmark of each size. Prepare returns what is measured.
func eachSize(b *testing.B, prepare func(n int) func()) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			measured := prepare(n)
			b.ReportAllocs()
			for b.Loop() {
				measured()
			}
		})
	}
}

// wishedTimeouts are the keys of a container that the policies of a benchmark name.
var wishedTimeouts = []string{"generic", "tcpEstablished", "udp", "udpStream"}

// containersOf returns a node with containers whose facts are these timeouts.
func containersOf(n int, timeouts []string) nf.Snapshot {
	s := nf.Snapshot{APIVersion: nf.APIVersion, Kind: nf.KindNodeSnapshot, Node: nf.NodeIdentity{Name: "hn-1"}, BootID: "2f7c",
		Kernel: nf.Kernel{Release: "6.1.0", Machine: "x86_64"}, Capabilities: nf.Capabilities{Latches: nf.No, BucketStep: 512},
		Modules: nf.Modules{Support: nf.SupportNone, Complete: true, List: []nf.ModuleFact{}}, Host: nf.Namespace{Facts: []nf.Fact{}}, Warnings: []nf.Warning{}}
	for i := range n {
		name := fmt.Sprintf("web-%d", i+1)
		c := nf.Container{Runtime: nf.RuntimeNetns, ID: name, Name: name, State: nf.StateRunning, MaxScope: nf.ScopeNode,
			Instance: fmt.Sprintf("2f7c/4:%d:%d", 4026532000+i, 4800+i), Namespace: nf.Namespace{Rules: &nf.Rules{Tables: []nf.Table{}},
				Tracking: &nf.Tracking{State: nf.TrackingOff, Evidence: "no rule tracks"}, Count: nf.Number(0)}}
		for _, key := range timeouts {
			c.Facts = append(c.Facts, nf.Fact{Key: nf.TimeoutKey(key), Live: nf.Number(30)})
		}
		s.Containers = append(s.Containers, c)
	}
	s.AddKeepers()
	return s
}

// printed returns a snapshot as nfsync prints it.
func printed(s nf.Snapshot) File {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // a snapshot can always be encoded
	}
	return File{Name: "s.json", Data: text}
}

func BenchmarkParse(b *testing.B) {
	eachSize(b, func(n int) func() {
		var files []File
		for i := range n {
			text := fmt.Sprintf("apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata:\n  name: p%d\nspec:\n  containers:\n    names: [\"web-%d-*\"]\n"+
				"  level: stateful\n  conntrack:\n    max: %d\n    timeouts: {udp: 30s, tcpEstablished: 2h}\n", i, i, i+1)
			files = append(files, File{Name: fmt.Sprintf("p%d.yaml", i), Data: []byte(text)})
		}
		return func() {
			if _, found := Parse(files); len(found) > 0 {
				b.Fatal(found)
			}
		}
	})
}

// BenchmarkReadSnapshot reads a node with so many containers and few facts of each.
func BenchmarkReadSnapshot(b *testing.B) {
	eachSize(b, func(n int) func() {
		file := printed(containersOf(n, wishedTimeouts))
		b.SetBytes(int64(len(file.Data)))
		return func() {
			if _, found := ParseSnapshot(file); len(found) > 0 {
				b.Fatal(found)
			}
		}
	})
}

// BenchmarkReadSnapshots reads so many nodes, each with fifty containers and all of their
// timeouts.
func BenchmarkReadSnapshots(b *testing.B) {
	file := printed(containersOf(50, nf.TimeoutNames()))
	eachSize(b, func(n int) func() {
		n /= 100
		b.SetBytes(int64(n * len(file.Data)))
		return func() {
			for range n {
				if _, found := ParseSnapshot(file); len(found) > 0 {
					b.Fatal(found)
				}
			}
		}
	})
}

// BenchmarkResolve resolves one policy for many containers, and one for each of them, by name and by
// label.
func BenchmarkResolve(b *testing.B) {
	var wishes []KeyWish
	for i, key := range wishedTimeouts {
		wishes = append(wishes, KeyWish{Key: nf.TimeoutKey(key), Wish: nf.Exactly(nf.Number(int64(i + 1)))})
	}
	policyFor := func(name string) Policy {
		return Policy{Kind: nf.KindContainerPolicy, Source: nf.Source{Name: name}, Containers: ContainerSelector{Names: []string{name}}, Wishes: wishes}
	}
	resolving := func(policies func(n int) Policies) func(*testing.B) {
		return func(b *testing.B) {
			eachSize(b, func(n int) func() {
				s, policies := containersOf(n, nil), policies(n)
				for i := range s.Containers {
					s.Containers[i].Labels = map[string]string{"app": "web", "name": s.Containers[i].Name}
				}
				return func() {
					if wants := policies.Resolve(&s); len(wants.List) < n {
						b.Fatalf("%d wants", len(wants.List))
					}
				}
			})
		}
	}
	b.Run("one", resolving(func(int) Policies { return Policies{policyFor("web-*")} }))
	b.Run("each", resolving(func(n int) (list Policies) {
		for i := range n {
			list = append(list, policyFor(fmt.Sprintf("web-%d", i+1)))
		}
		return list
	}))
	b.Run("labels", resolving(func(n int) (list Policies) {
		for i := range n {
			policy := policyFor(fmt.Sprintf("web-%d", i+1))
			policy.Containers = ContainerSelector{Labels: map[string]string{"app": "web", "name": policy.Source.Name}}
			list = append(list, policy)
		}
		return list
	}))
}
