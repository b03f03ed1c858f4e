package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

// memberConfig says how this node reaches its fleet, as the configuration says; false if it names none.
func (a *app) memberConfig() (fleet.Config, bool) {
	f := a.config.Fleet
	if f == nil {
		return fleet.Config{}, false
	}
	return fleet.Config{Servers: f.Servers, CredentialsFile: f.CredentialsFile, CAFile: f.CAFile, Channel: f.Channel, CoordinatorKey: f.CoordinatorKey, Name: a.nodeName()}, true
}

// joined is this node in its fleet.
type joined struct {
	config fleet.Config
	member member
}

// member is a node's place in a fleet: a *fleet.Member.
type member interface {
	Rollout(context.Context) (nf.RolloutDocument, error)
	Grant(context.Context) (nf.RestartGrant, error)
	PutNode(context.Context, nf.FleetNode) (sequence uint64, err error)
	PutSnapshot(ctx context.Context, document []byte) (sequence uint64, err error)
	Link() fleet.Link
	Close()
}

// joinFleet joins a fleet, as fleet.Join does. Tests wait less.
var joinFleet = func(cfg fleet.Config, wake func()) (member, error) { return fleet.Join(cfg, wake) }

// join returns this node in the fleet of the configuration: as it is already, or joined anew. wake is called when the node
// should ask the fleet. The error says why it cannot be part of the fleet.
func join(cfg fleet.Config, was *joined, wake func()) (*joined, *agent.FleetError) {
	if was != nil && reflect.DeepEqual(was.config, cfg) {
		return was, nil
	}
	if !nf.IsFleetName(cfg.Name) {
		return nil, &agent.FleetError{Reason: agent.ReasonBadName, Err: fmt.Errorf("the node's name %q cannot be part of a fleet: set node.name in the configuration, of letters, digits, _ and -, with dots between", cfg.Name)}
	}
	m, err := joinFleet(cfg, wake)
	if err != nil {
		return nil, &agent.FleetError{Reason: agent.ReasonNotPermitted, Err: err}
	}
	return &joined{cfg, m}, nil
}

// joinAlone joins the fleet for one question or one lap. connected receives when there is a connection.
func joinAlone(cfg fleet.Config) (j *joined, connected <-chan struct{}, problem *agent.FleetError) {
	woken := make(chan struct{}, 1)
	j, problem = join(cfg, nil, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	return j, woken, problem
}

// leave leaves the fleet, unless the node stays in it as kept.
func (j *joined) leave(kept *joined) {
	if j != nil && j != kept {
		j.member.Close()
	}
}

// membership returns what laps need of the fleet, with the repository that revisions are fetched from.
func (a *app) membership(cfg fleet.Config, j *joined, problem *agent.FleetError, repo source.Config, fetcher func(source.Config) agent.Fetcher) *agent.Membership {
	boot, _ := os.ReadFile(filepath.Join("/", a.root, "proc/sys/kernel/random/boot_id")) // without one it is empty
	m := &agent.Membership{
		Err: problem, Channel: cfg.Channel, CoordinatorKey: cfg.CoordinatorKey, Version: buildInfo().Version, BootID: strings.TrimSpace(string(boot)),
		Node: nf.NodeIdentity{Name: cfg.Name, Labels: a.labels},
		Fetch: func(b agent.Bounds) agent.Fetcher {
			within := repo
			within.UpTo, within.Before, within.After = b.UpTo, b.Before, b.After
			return fetcher(within)
		},
		Snapshot: func(ctx context.Context, labels apply.LabelUse) (nf.Snapshot, error) {
			return apply.Snapshot(ctx, a.facts(), labels)
		},
		Document: func(s nf.Snapshot) ([]byte, error) {
			var text bytes.Buffer
			err := view.Snapshots.Write(&text, view.FormatJSON, s, view.Options{})
			return text.Bytes(), err
		},
	}
	if j != nil {
		m.Fleet = fleetMember{j.member}
	}
	return m
}

// fleetMember is a member with the errors of laps.
type fleetMember struct{ member }

func (m fleetMember) Rollout(ctx context.Context) (nf.RolloutDocument, error) {
	d, err := m.member.Rollout(ctx)
	return d, asFleetError(err, "the fleet has no roll-out on this channel yet")
}

func (m fleetMember) Grant(ctx context.Context) (nf.RestartGrant, error) {
	g, err := m.member.Grant(ctx)
	return g, asFleetError(err, "no restart was granted yet")
}

func (m fleetMember) PutNode(ctx context.Context, n nf.FleetNode) (uint64, error) {
	sequence, err := m.member.PutNode(ctx, n)
	return sequence, asFleetError(err, "")
}

func (m fleetMember) PutSnapshot(ctx context.Context, document []byte) (uint64, error) {
	sequence, err := m.member.PutSnapshot(ctx, document)
	return sequence, asFleetError(err, "")
}

func (m fleetMember) Link() agent.FleetLink { return agent.FleetLink(m.member.Link()) }

// asFleetError returns an error of a member as one of laps. none is what the absence of a document means.
func asFleetError(err error, none string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fleet.ErrNone):
		return &agent.FleetError{Reason: agent.ReasonNoDocument, Err: errors.New(none)}
	case is[*fleet.ForgedError](err):
		return &agent.FleetError{Reason: agent.ReasonForged, Err: err}
	case fleet.IsNotPermitted(err), is[*fleet.RefusedError](err):
		return &agent.FleetError{Reason: agent.ReasonNotPermitted, Err: err}
	}
	return &agent.FleetError{Reason: agent.ReasonUnreachable, Err: err}
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// onceTimeout is how long the only lap waits for a connection to the fleet, and for what it puts there.
const onceTimeout = 15 * time.Second

// joinOnce joins the fleet of the configuration for the only lap. f is nil if there is none. end tells the fleet what the lap has
// done, and leaves it.
func (a *app) joinOnce(ctx context.Context, repo source.Config) (f *agent.Follower, end func(*state.Dir, agent.Report)) {
	cfg, ok := a.memberConfig()
	if !ok {
		return nil, func(*state.Dir, agent.Report) {}
	}
	j, connected, problem := joinAlone(cfg)
	m := a.membership(cfg, j, problem, repo, a.fetcher)
	status := agent.NewStatus(cfg.Name, "", a.config.Mode, nf.AgentInfo{})
	if good, err := state.ReadLastGood(a.stateDir); err == nil && good.Revision != "" { // the lap reports damage
		status.Revision = &nf.InForce{Commit: good.Revision, URL: good.URL, Branch: good.Branch}
	}
	put := func(ctx context.Context) error {
		_, err := m.Fleet.PutNode(ctx, agent.FleetNode(*m, status, f.Following(), 0))
		return err
	}
	f = agent.NewFollower(*m, put)
	f.Once = true
	if j != nil {
		select {
		case <-connected:
		case <-ctx.Done():
		case <-time.After(onceTimeout): // the lap says so
		}
	}
	return f, func(dir *state.Dir, r agent.Report) {
		if problem := f.Following().Problem; problem != nil {
			a.say(slog.LevelWarn, problem.Error(), "the last good revision stays in force; nfsync doctor checks what the fleet needs")
		}
		if at := f.Following().BeginsAt; !at.IsZero() {
			a.say(slog.LevelWarn, "the node's turn has come, and it begins at "+at.UTC().Format(time.DateTime)+" UTC: the commit is not taken yet", "run nfsync agent --once again after that")
		}
		if j == nil || dir == nil || ctx.Err() != nil {
			j.leave(nil)
			return
		}
		defer j.leave(nil)
		telling, cancel := context.WithTimeout(ctx, onceTimeout)
		defer cancel()
		status = a.statusOnce(nf.PublicURL(repo.URLs[0]), r)
		err := errors.Join(f.Ended(telling, dir, r.Result, r.Err, nil), put(telling), putSnapshot(telling, dir, m, r.Result.Revision.Policies.UseLabels))
		if err != nil {
			a.say(slog.LevelWarn, "the fleet was not told what the lap has done: "+err.Error(), "the lap is not affected; the next one tells")
		}
	}
}

// putSnapshot puts the snapshot of the node, unless one was put lately, or the same within a day.
func putSnapshot(ctx context.Context, dir *state.Dir, m *agent.Membership, labels apply.LabelUse) error {
	_, err := dir.ChangeFleet(ctx, m.Channel, m.CoordinatorKey, func(is *state.Fleet) error {
		if since := time.Since(is.SnapshotAt); since >= 0 && since < agent.SnapshotPause {
			return nil
		}
		s, err := m.Snapshot(ctx, labels)
		if err != nil {
			return err
		}
		digest, err := agent.SnapshotDigest(s)
		if err != nil || digest == is.SnapshotDigest && s.TakenAt.Sub(is.SnapshotAt) < 24*time.Hour {
			return err
		}
		document, err := m.Document(s)
		if err == nil {
			_, err = m.Fleet.PutSnapshot(ctx, document)
		}
		is.SnapshotAt, is.SnapshotDigest = s.TakenAt, digest
		return err
	})
	return err
}

// askAsMember asks the fleet of the configuration for its roll-out, as soon as there is a connection.
func (a *app) askAsMember(ctx context.Context) (nf.RolloutDocument, error) {
	cfg, _ := a.memberConfig()
	j, connected, problem := joinAlone(cfg)
	if problem != nil {
		return nf.RolloutDocument{}, problem
	}
	defer j.leave(nil)
	select {
	case <-connected:
	case <-ctx.Done():
	}
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), onceTimeout)
	defer cancel()
	return fleetMember{j.member}.Rollout(asking)
}
