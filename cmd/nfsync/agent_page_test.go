package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestAgentPage: the page of a running agent has what laps have seen. A lap for a container that was born, and
// one that looks at nothing, leave the rest.
func TestAgentPage(t *testing.T) {
	loopback(t)
	n := newAgentNode(t)
	n.add("web-1")
	n.commit(udpPolicy(100))
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	n.check(err)
	n.check(l.Close())
	address := "http://" + l.Addr().String()
	n.configureWith("listen: none", "listen: "+l.Addr().String())
	n.runConfigured()
	n.awaitReady(n.tip)
	get := func(path string) *http.Response {
		t.Helper()
		res, err := http.Get(address + path)
		n.check(err)
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	page := func(wants ...string) bool {
		t.Helper()
		text, err := io.ReadAll(get("/").Body)
		n.check(err)
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				return false
			}
		}
		return true
	}
	if !page(">hn-1<", ">ready<", n.tip[:12], `class="name">web-1<`, "as wanted", `class="receipt"`, "conntrack.timeouts.udp") {
		t.Error("the page does not show the first lap")
	}
	events := bufio.NewScanner(get("/events").Body)
	n.add("web-2")
	for events.Scan() && events.Text() != "data: changed" {
	}
	n.await("both containers on the page", func() bool {
		return page(`class="name">web-1<`, `class="name">web-2<`, "2</span> <span class=\"count green\">2 as wanted<")
	})
	n.remove("web-1")
	n.await("one container on the page", func() bool { return page(`class="name">web-2<`) && !page(`class="name">web-1<`) })
}
