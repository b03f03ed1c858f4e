package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/openfile"
	"nfsync.dev/nfsync/internal/spec"
)

// defaultConfig is the coordinator's configuration file unless --config names one.
const defaultConfig = "/etc/nfsync-coordinator/coordinator.yaml"

// noConfig is the value of --config that stands for no configuration.
const noConfig = "none"

// maxConfig is the most bytes of a configuration file.
const maxConfig = 1 << 20

// readConfig returns the configuration, with the directory of --dir in it. The default file may be missing. From here on
// root acts as the owner of the directory.
func (a *app) readConfig() (spec.CoordinatorConfig, error) {
	config, err := a.parsedConfig()
	if err != nil {
		return config, err
	}
	config.Directory = cmp.Or(a.dir, config.Directory)
	return config, a.actAsOwner(config.Directory)
}

// open returns the configuration, and the directory of the keys.
func (a *app) open() (spec.CoordinatorConfig, *engine.Directory, error) {
	config, err := a.readConfig()
	if err != nil {
		return config, nil, err
	}
	d, err := engine.Open(config.Directory)
	return config, d, err
}

// parsedConfig returns what the configuration file says.
func (a *app) parsedConfig() (spec.CoordinatorConfig, error) {
	config := spec.DefaultCoordinatorConfig()
	if a.configFile == noConfig {
		return config, nil
	}
	text, err := openfile.Read(a.configFile, maxConfig)
	if errors.Is(err, fs.ErrNotExist) && !a.configGiven {
		return config, nil
	}
	if err != nil {
		return config, fmt.Errorf("cannot read the configuration: %w", err)
	}
	config, wrong := spec.ParseCoordinatorConfig(spec.File{Name: a.configFile, Data: text})
	if len(wrong) > 0 {
		return config, &invalidConfigError{wrong}
	}
	return config, nil
}

// invalidConfigError means that the configuration file has mistakes.
type invalidConfigError struct{ diagnostics []spec.Diagnostic }

func (e *invalidConfigError) Error() string {
	text := "the configuration is not valid: nothing was done"
	for _, d := range e.diagnostics {
		text += "\n" + d.String()
	}
	return text
}

// listenOf returns where the server of the coordinator listens.
func listenOf(e spec.Engine) engine.Listen {
	return engine.Listen{Address: e.Listen, CertFile: e.CertFile, KeyFile: e.KeyFile}
}

// serversOf returns the operator's own servers.
func serversOf(e spec.Engine) engine.Servers {
	return engine.Servers{URLs: e.Servers, CAFile: e.CAFile}
}

// agentServers returns the servers of a fleet as agent.yaml has them.
func agentServers(e spec.Engine) string {
	if !e.IsEmbedded() {
		return strings.Join(e.Servers, ", ")
	}
	host, port, err := net.SplitHostPort(e.Listen)
	if err != nil || e.CertFile == "" {
		return "nats://" + e.Listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "HOST" // the name that is in the certificate
	}
	return "tls://" + net.JoinHostPort(host, port)
}

// patience is how long servers are waited for.
const patience = 15 * time.Second

// push gives the accounts to the servers, so that they know what is revoked. It returns how many have taken them.
func push(ctx context.Context, d *engine.Directory, e spec.Engine) (int, error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if e.IsEmbedded() {
		return d.PushLocal(ctx, listenOf(e))
	}
	return d.Push(ctx, serversOf(e))
}

// connectTo returns a connection to the servers with the coordinator's credentials.
func connectTo(ctx context.Context, d *engine.Directory, e spec.Engine) (*nats.Conn, error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if e.IsEmbedded() {
		return d.ConnectLocal(ctx, listenOf(e))
	}
	return d.Connect(ctx, serversOf(e))
}
