// Pkt sends packets inside the machines of the VM set.
//
//	pkt reach N            sends N datagrams over the loopback, each from a new port, and prints how many arrived
//	pkt pump               does the same until SIGTERM, then prints how many were sent and how many arrived
//	pkt flood N [ADDRESS]  sends a datagram to each of N ports of the address (default 127.0.0.1), and prints how many the kernel refused to send
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pkt:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	n, to := 0, net.IPv4(127, 0, 0, 1)
	if len(args) >= 2 {
		n, _ = strconv.Atoi(args[1])
	}
	if len(args) == 3 {
		to = net.ParseIP(args[2])
	}
	switch {
	case len(args) == 2 && args[0] == "reach":
		return reach(n)
	case len(args) == 1 && args[0] == "pump":
		return pump()
	case (len(args) == 2 || len(args) == 3) && args[0] == "flood" && to != nil:
		return flood(n, to)
	}
	return errors.New("usage: pkt reach N | pump | flood N [ADDRESS]")
}

// loopback is a receiver on the loopback.
type loopback struct {
	receiver *net.UDPConn
}

func listen() (loopback, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	return loopback{c}, err
}

// once sends one datagram from a new port and reports whether it arrives within the
// given time. On the loopback it arrives at once, but an emulated machine may be slow.
func (l loopback) once(within time.Duration) bool {
	c, err := net.DialUDP("udp4", nil, l.receiver.LocalAddr().(*net.UDPAddr))
	if err != nil {
		return false
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	_ = l.receiver.SetReadDeadline(time.Now().Add(within))
	_, err = l.receiver.Read(make([]byte, 8))
	return err == nil
}

func reach(n int) error {
	l, err := listen()
	if err != nil {
		return err
	}
	arrived := 0
	for range n {
		if l.once(time.Second) {
			arrived++
		}
	}
	fmt.Println(arrived)
	return nil
}

func pump() error {
	l, err := listen()
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	for sent, arrived := 0, 0; ; sent++ {
		select {
		case <-stop:
			fmt.Println(sent, arrived)
			return nil
		default:
		}
		if l.once(20 * time.Millisecond) {
			arrived++
		}
	}
}

func flood(n int, to net.IP) error {
	c, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	refused := 0
	for i := range n {
		_, err := c.WriteToUDP([]byte("x"), &net.UDPAddr{IP: to, Port: 1024 + i})
		switch {
		case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOBUFS):
			refused++
		case err != nil && !errors.Is(err, syscall.ECONNREFUSED):
			return err
		}
	}
	fmt.Println(refused)
	return nil
}
