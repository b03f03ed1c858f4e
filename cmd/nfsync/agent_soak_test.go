//go:build soak

package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// gauges are the metrics that must stay flat: each with the growth that is noise.
var gauges = []struct {
	name  string
	most  float64 // of the part that it may grow by
	plus  float64 // and this besides
	scale float64 // as it is printed
	unit  string
}{
	{"process_resident_memory_bytes", 0.10, 8 << 20, 1 << 20, " MiB"},
	{"process_open_fds", 0, 4, 1, ""},
	{"go_threads", 0, 4, 1, ""},
	{"go_goroutines", 0, 6, 1, ""},
}

// TestAgentSoak runs an agent on a busy node for the time that NFSYNC_SOAK says. What it takes of the
// machine in the last quarter is what it took in the first one.
func TestAgentSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("NFSYNC_SOAK"))
	if err != nil {
		t.Fatal("NFSYNC_SOAK, such as 1h, says how long it takes: make soak")
	}
	n := newSoakNode(t)
	begin := time.Now()
	samples := map[string][]float64{}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for round := 0; time.Since(begin) < length; round++ {
		n.disturb(round)
		if passed := time.Since(begin); passed > length/10 { // before that it warms up
			n.sample(samples)
		}
		<-tick.C
	}
	for _, g := range gauges {
		list := samples[g.name]
		first, last := median(list[:len(list)/4]), median(list[len(list)*3/4:])
		t.Logf("%s: %.0f%s at first, %.0f%[3]s in the end", g.name, first/g.scale, g.unit, last/g.scale)
		if last > first*(1+g.most)+g.plus {
			t.Errorf("%s grows", g.name)
		}
	}
	n.commit(udpPolicy(9999))
	n.awaitReady(n.tip)
	for _, name := range n.names {
		n.awaitUDP(name, 9999)
	}
	if state := n.stop(syscall.SIGTERM); state.ExitCode() != exitOK {
		t.Errorf("it ended with %v", state)
	}
}

type soakNode struct {
	*agentNode
	metrics string
	names   []string
	added   int
}

// newSoakNode makes a node with 200 containers, whose agent is the program as it is built.
func newSoakNode(t *testing.T) *soakNode {
	t.Helper()
	n := &soakNode{agentNode: newAgentNode(t)}
	n.program = n.path("nfsync")
	if out, err := exec.Command("go", "build", "-o", n.program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	n.overHTTP()
	for range 200 {
		n.come()
	}
	n.commit(udpPolicy(100))
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	n.check(err)
	n.metrics = "http://" + l.Addr().String() + "/metrics"
	n.check(l.Close())
	n.configureWith("listen: none", "listen: "+l.Addr().String())
	n.runConfigured()
	n.awaitReady(n.tip)
	return n
}

func (n *soakNode) come() {
	n.Helper()
	n.added++
	name := fmt.Sprintf("web-%d", n.added)
	n.add(name)
	n.names = append(n.names, name)
}

// disturb does what happens on a busy node: drift, now and then a commit, and a container that goes and
// another that comes.
func (n *soakNode) disturb(round int) {
	n.Helper()
	n.setUDP(n.names[rand.IntN(len(n.names))], 5000+rand.IntN(1000))
	if round%4 == 0 {
		gone := rand.IntN(len(n.names))
		n.remove(n.names[gone])
		n.names = slices.Delete(n.names, gone, gone+1)
		n.come()
	}
	if round%10 == 0 {
		n.commit(udpPolicy(100 + round%1000))
	}
}

// sample reads the metrics that must stay flat.
func (n *soakNode) sample(into map[string][]float64) {
	n.Helper()
	res, err := http.Get(n.metrics)
	n.check(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	n.check(err)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, g := range gauges {
			if g.name == name {
				number, err := strconv.ParseFloat(value, 64)
				n.check(err)
				into[name] = append(into[name], number)
			}
		}
	}
}

func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}
