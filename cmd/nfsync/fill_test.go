package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
)

// fill fills the conntrack table of a container to a percentage of the kernel's limit: fill web-1 97.
// Each address of the loopback network that is sent a packet is an entry.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fill container percent")
	}
	percent, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(netns.Enter(ts.MkAbs(filepath.Join("netns", args[0])), func() error { return fillTable(percent) }))
}

// fillTable fills the table of the network namespace of the calling thread.
func fillTable(percent int) error {
	for _, cmd := range []*exec.Cmd{
		exec.Command("ip", "link", "set", "lo", "up"),
		exec.Command("nft", "add table inet t; add chain inet t c { type filter hook output priority 0; }; add rule inet t c ct state new accept"),
	} {
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", cmd, err, out)
		}
	}
	if err := os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_udp_timeout", []byte("600"), 0); err != nil {
		return err
	}
	text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_max")
	if err != nil {
		return err
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	c, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	defer c.Close()
	self := c.LocalAddr().(*net.UDPAddr).Port
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) {
		for i := range limit * percent / 100 {
			to := &unix.SockaddrInet4{Port: self, Addr: [4]byte{127, byte(i >> 16), byte(i >> 8), byte(i)}}
			_ = unix.Sendto(int(fd), []byte("x"), unix.MSG_DONTWAIT, to) // a full table drops it
		}
	})
}
