package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/review"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
)

// nodesOptions name the repository to which nodes publish.
type nodesOptions struct {
	urls   []string
	branch string
	fleet  fleetAccess    // how a fleet is reached, if the URL is that of one
	opened publishedNodes // nil: snapshots are files
}

// publishedNodes are snapshots that nodes have published.
type publishedNodes interface {
	Files() []string
	Node(file string) string
	Read(file string) ([]byte, error)
	Close()
}

func (o *nodesOptions) register(f *pflag.FlagSet) {
	f.StringArrayVar(&o.urls, "nodes-from", nil, "take the nodes that publish to this git repository, a `URL` or path, or to a fleet (tls://HOST:PORT, with commas); with --node for that one alone")
	f.StringVar(&o.branch, "nodes-branch", nf.DefaultNodeBranch, "their `branch`es there, as publish.branch names them")
	f.StringVar(&o.fleet.credentials, "credentials", "", "credentials `file` of a reader of the fleet")
}

func (o *nodesOptions) isSet() bool { return len(o.urls) > 0 }

// isFleet reports whether the nodes are those of a fleet.
func (o *nodesOptions) isFleet() bool { return o.isSet() && isFleetURL(o.urls[0]) }

// check returns an error for flags that contradict each other.
func (o *nodesOptions) check(snapshots []string) error {
	switch {
	case !o.isSet() && o.branch != "" && o.branch != nf.DefaultNodeBranch:
		return usageError{errors.New("--nodes-branch is about the repository of --nodes-from")}
	case !o.isFleet() && o.fleet.credentials != "":
		return usageError{errors.New("--credentials is about the fleet of --nodes-from tls://HOST:PORT")}
	case !o.isSet():
		return nil
	case len(o.urls) > 1:
		return usageError{errors.New("--nodes-from names one repository")}
	case len(snapshots) > 0:
		return usageError{errors.New("--nodes-from and --snapshot both say where snapshots are")}
	case o.isFleet() && o.branch != nf.DefaultNodeBranch:
		return usageError{errors.New("--nodes-branch is about a git repository, and a fleet has no branches")}
	case strings.Count(o.branch, nf.NodePlaceholder) != 1:
		return usageError{fmt.Errorf("--nodes-branch %s: it must have %s once, which stands for the node's name", o.branch, nf.NodePlaceholder)}
	}
	return nil
}

// nodesMaxPack is the most that the branches of nodes may take, unless --max-pack-size says otherwise:
// some 20,000 nodes.
const nodesMaxPack = nf.GiB

// open fetches the branches of the nodes, or that of --node. done removes them.
func (o *nodesOptions) open(ctx context.Context, a *app, git *gitOptions) (done func(), err error) {
	defer a.fetching(o.urls[0])()
	only := ""
	if a.flags.Changed("node") {
		only = a.node
	}
	if o.isFleet() {
		return o.openFleet(ctx, a, git, only)
	}
	cfg := source.Config{URLs: o.urls, Timeout: git.timeout, MaxPack: cmp.Or(git.MaxPackSize, nodesMaxPack), Auth: git.Auth, UserKeys: true}
	opened, err := source.OpenNodes(ctx, cfg, o.branch, only)
	if err != nil {
		return nil, err
	}
	o.opened = opened
	return opened.Close, nil
}

// open fetches the branches of nodes, whose snapshots are then the files.
func (o *fleetOptions) open(ctx context.Context, a *app, git *gitOptions) (done func(), err error) {
	done, err = o.nodes.open(ctx, a, git)
	if err == nil {
		o.files = o.nodes.opened.Files()
	}
	return done, err
}

// read reads the snapshot of a node.
func (o *nodesOptions) read(file string) (spec.File, error) {
	data, err := o.opened.Read(file)
	return spec.File{Name: file, Data: data}, err
}

// node returns the name of the node whose branch a file is on.
func (o *fleetOptions) node(file string) string {
	if o.nodes.opened == nil {
		return ""
	}
	return o.nodes.opened.Node(file)
}

// connection are the flags that say how a repository is reached. They are for both that of the policies and
// that of --nodes-from.
var connection = []string{"timeout", "max-pack-size", "ssh-key", "known-hosts", "ssh-legacy-algorithms", "user", "password-file", "token-file", "ca-file"}

// isConnection reports whether a flag says how a repository is reached.
func isConnection(f *pflag.Flag) bool { return slices.Contains(connection, f.Name) }

// checkTaken returns an error if a snapshot is not that of the node on whose branch it is, or if it is
// stale: a published one, or one of which --max-age says how old it may be.
func (a *app) checkTaken(o *fleetOptions, s *nf.Snapshot) error {
	node := o.node(o.files[0])
	if node != "" && s.Node.Name != node {
		return fmt.Errorf("node %s: %s", node, review.OtherNode(s))
	}
	if node == "" && !o.ageGiven() {
		return nil
	}
	if old := o.ages(time.Now()).Stale(s.TakenAt); old != "" && !o.allowStale {
		return fmt.Errorf("node %s: %s; --max-age and --allow-stale take it", s.Node.Name, old)
	}
	return nil
}
