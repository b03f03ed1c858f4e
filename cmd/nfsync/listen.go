package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/web"
)

// listening is the listen address that is in use.
type listening struct {
	address string // empty, or spec.ListenNone: none
	stop    func() // closes its listener
}

func (l *listening) isOpen() bool { return l.stop != nil }

// statusPage returns the page of an agent.
func (a *app) statusPage(running *agent.Agent) *web.Page {
	return &web.Page{Agent: running, Tables: running.Tables(),
		ReceiptIDs: func() ([]string, error) { return state.ReceiptIDs(a.stateDir) },
		Receipt:    func(id string) (apply.Receipt, error) { return apply.FindReceipt(a.stateDir, id) }}
}

// listen answers HTTP on an address in place of the one before, which is closed once the new one
// is open. If that cannot be opened, the one before stays.
func (l *loop) listen(address string) error {
	was := l.listening
	if address == was.address {
		return nil
	}
	if address == spec.ListenNone {
		l.stopListening()
		l.listening.address = address
		return nil
	}
	listener, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) && was.isOpen() && portOf(address) == portOf(was.address) {
		// It may be the one before that holds the port: 127.0.0.1:9469 and :9469 cannot both be open.
		l.stopListening()
		if listener, err = net.Listen("tcp", address); err != nil {
			err = errors.Join(cannotListen(address, err), l.listen(was.address))
			return err
		}
	}
	if err != nil {
		return cannotListen(address, err)
	}
	l.stopListening()
	l.serve(address, listener)
	return nil
}

func cannotListen(address string, err error) error {
	return hinted{fmt.Errorf("cannot listen on %s: %w", address, err), "name another address in the configuration: listen"}
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address) // an address without a port is not listened on
	return port
}

func (l *loop) serve(address string, listener net.Listener) {
	ctx, cancel := context.WithCancel(l.watching)
	closed := make(chan bool)
	a := l.app // another one after the configuration has changed
	go func() {
		defer close(closed)
		if err := l.public.Serve(ctx, listener); err != nil {
			a.say(slog.LevelError, err.Error(), "")
		}
	}()
	l.listening = listening{address, func() { cancel(); <-closed }}
}

func (l *loop) stopListening() {
	if l.listening.isOpen() {
		l.listening.stop()
	}
	l.listening = listening{}
}
