package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/durable"
	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// enrollOptions are the flags of enroll.
type enrollOptions struct {
	reader, operator, site, replace bool
	expires                         time.Duration
	out                             string
}

// kind returns what the credentials are for.
func (o enrollOptions) kind() nf.CredentialKind {
	switch {
	case o.reader:
		return nf.CredentialReader
	case o.operator:
		return nf.CredentialOperator
	case o.site:
		return nf.CredentialSite
	}
	return nf.CredentialNode
}

func enrollCommand(a *app) *cobra.Command {
	var o enrollOptions
	cmd := &cobra.Command{
		Use:   "enroll NAME",
		Short: "Make credentials of a node, a reader, an operator or a site",
		Long: `Enroll makes credentials and prints them. Their secret is kept nowhere else. No
server needs to be told, and none needs to run.

A node may put its own status and snapshot, and read the roll-out and its own
restart grant. A reader, such as a CI job, may read what nodes have put. An
operator may read the roll-out too, and ask the coordinator to pause it, to
halt it and so on. The server of a site, configured with nats-leaf.conf of
init, passes on what its nodes put and ask: it can speak for any node.

What agent.yaml needs beside them is printed on standard error.`,
		Example: `  nfsync-coordinator enroll hn-1 --out hn-1.creds
  nfsync-coordinator enroll --reader ci --out ci.creds
  nfsync-coordinator enroll --operator ann --expires 2160h --out ann.creds
  nfsync-coordinator enroll --site berlin --out site.creds`,
		Args: oneArgument("a node, or --reader, --operator or --site and a name"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.enroll(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.reader, "reader", false, "for reading what nodes have put")
	f.BoolVar(&o.operator, "operator", false, "for a person who steers roll-outs")
	f.BoolVar(&o.site, "site", false, "for a NATS server between the nodes of a site and the servers of the fleet")
	f.BoolVar(&o.replace, "replace", false, "revoke what the name has, and make new ones")
	f.DurationVar(&o.expires, "expires", 0, "`time` after which they end, such as 8760h (default: never)")
	f.Lookup("expires").DefValue = "0s"
	f.StringVar(&o.out, "out", "", "write them to `file`, which only this user can read")
	cmd.MarkFlagsMutuallyExclusive("reader", "operator", "site")
	return cmd
}

func (a *app) enroll(ctx context.Context, name string, o enrollOptions) error {
	if o.expires < 0 {
		return usageError{errors.New("--expires is in the past")}
	}
	config, d, err := a.open()
	if err != nil {
		return err
	}
	text, err := d.Enroll(o.kind(), name, o.expires, o.replace)
	if err != nil {
		return err
	}
	if err := a.hand(text, o.out); err != nil {
		return hinted{fmt.Errorf("the credentials are lost: %w", err), "nfsync-coordinator enroll --replace makes new ones"}
	}
	a.sayAgentLines(o, d, config.Engine)
	if o.replace {
		return a.tell(ctx, d, config.Engine)
	}
	return nil
}

// hand writes credentials to a file, or to standard output.
func (a *app) hand(text []byte, file string) error {
	if file != "" {
		return a.asCaller(func() error { return durable.Writer{}.Save(file, text, 0o600) })
	}
	_, err := a.stdout.Write(text)
	return err
}

// sayAgentLines says what a member's configuration needs beside the credentials.
func (a *app) sayAgentLines(o enrollOptions, d *engine.Directory, e spec.Engine) {
	switch o.kind() {
	case nf.CredentialNode:
	case nf.CredentialSite:
		a.say(slog.LevelInfo, "they are for the credentials of leafnodes in nats-leaf.conf, which nfsync-coordinator init writes", "")
		return
	default:
		a.say(slog.LevelInfo, "servers: "+agentServers(e)+", coordinator's key: "+d.CoordinatorPublicKey(), "")
		return
	}
	_, _ = io.WriteString(a.stderr, `In /etc/nfsync/agent.yaml of the node:
fleet:
  servers: [`+agentServers(e)+`]
  credentialsFile: /etc/nfsync/fleet.creds
  coordinatorKey: `+d.CoordinatorPublicKey()+"\n")
}
