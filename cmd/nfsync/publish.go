package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

// publishing returns how the agent publishes what this node is; nil if the configuration does not say so.
func (a *app) publishing() *agent.Publishing {
	p := a.config.Publish
	if p == nil {
		return nil
	}
	node := a.nodeName()
	return &agent.Publishing{
		Repository: source.Config{URLs: []string{p.URL}, Timeout: a.config.Source.Timeout, Auth: source.Auth(p.Auth), Dir: filepath.Join(a.stateDir, "git")},
		Branch:     nf.NodeBranch(p.Branch, node), Path: p.Path, Node: node, Machine: a.machineID(),
		State: func() (*state.Dir, error) { return state.Open(a.stateDir) },
		Snapshot: func(ctx context.Context, labels apply.LabelUse) (nf.Snapshot, error) {
			return apply.Snapshot(ctx, a.facts(), labels)
		},
		Documents: documents, Push: source.Publish,
	}
}

// machineID returns what tells this machine, with this state directory, from any other. It survives the
// loss of the state directory. The machine-id itself is not to be published: machine-id(5).
func (a *app) machineID() string {
	id, _ := os.ReadFile(filepath.Join(a.root, "etc/machine-id")) // without one the state directory tells
	dir, err := filepath.Abs(a.stateDir)
	if err != nil {
		dir = a.stateDir
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	sum := sha256.Sum256([]byte("nfsync publish\x00" + strings.TrimSpace(string(id)) + "\x00" + dir))
	return hex.EncodeToString(sum[:8])
}

// The names of what is published.
const (
	publishedSnapshot = "snapshot.json"
	publishedStatus   = "status.json"
)

// maxReadable is the largest snapshot, in bytes, that is published with its lines indented: one that
// is larger could exceed what may be published.
const maxReadable = 8 << 20

// documents returns what is published of a node.
func documents(s nf.Snapshot, status nf.NodeStatus) ([]source.File, error) {
	var snapshot bytes.Buffer
	if err := view.Snapshots.Write(&snapshot, view.FormatJSON, s, view.Options{}); err != nil {
		return nil, err
	}
	if snapshot.Len() > maxReadable {
		var compact bytes.Buffer
		if err := json.Compact(&compact, snapshot.Bytes()); err != nil {
			return nil, err
		}
		snapshot = compact
	}
	text, err := view.StatusFile(status)
	return []source.File{{Name: publishedSnapshot, Data: snapshot.Bytes()}, {Name: publishedStatus, Data: text}}, err
}

// publishOnce publishes what the node is after the only lap. That this fails does not change how the
// command ends.
func (a *app) publishOnce(ctx context.Context, policies string, r agent.Report) {
	p := a.publishing()
	if p == nil || ctx.Err() != nil {
		return
	}
	status := a.statusOnce(policies, r)
	ctx, cancel := context.WithTimeout(ctx, 2*a.config.Source.Timeout) // half of it is for the push
	defer cancel()
	if _, err := p.Publish(ctx, status, r.Result.Revision.Policies.UseLabels); err != nil {
		a.say(slog.LevelWarn, err.Error(), "the lap is not affected; the next one tries again")
	}
}

// publication reports how a publication has ended: a line for a problem when it comes, and when it is
// over. a is the app at the start: that of the loop is the laps' alone.
func (l *loop) publication(a *app) func(agent.PublishReport) {
	problem := ""
	return func(r agent.PublishReport) {
		l.metrics.PublicationEnded(r)
		was := problem
		problem = ""
		if r.Err != nil {
			problem = r.Err.Error()
		}
		switch {
		case problem != "" && problem != was:
			a.say(slog.LevelWarn, problem, "")
		case problem == "" && was != "":
			a.say(slog.LevelInfo, "published again: branch "+r.Branch+" of "+r.URL, "")
		}
	}
}

// timedPush is a push whose time is counted.
func (l *loop) timedPush(ctx context.Context, cfg source.Config, p source.Publication, pushed []string, save func(commit string) error) error {
	began := time.Now()
	err := source.Publish(ctx, cfg, p, pushed, save)
	l.metrics.Pushed(time.Since(began), err)
	return err
}

// statusOnce returns the status after the only lap.
func (a *app) statusOnce(policies string, r agent.Report) nf.NodeStatus {
	r.Trip, r.Finished = agent.Trip{Causes: []agent.Cause{agent.WakeStart}, Fetch: true}, time.Now()
	return agent.Status(agent.NewStatus(a.nodeName(), policies, a.config.Mode, nf.AgentInfo{Version: buildInfo().Version, PID: os.Getpid(), StartedAt: r.Started}), r)
}
