package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// The most bytes of the texts of an ask that are kept.
const (
	maxReason = 500
	maxBy     = 100
)

// enqueue stores an ask until the next round. If too many wait, it gets no answer.
func (c *Coordinator) enqueue(m *nats.Msg) {
	select {
	case c.asks <- m:
	default:
	}
}

// answer does what an operator asks for, and answers when it is in the store. A coordinator without the
// lease stays silent: the other one answers.
func (c *Coordinator) answer(ctx context.Context, m *nats.Msg) {
	if !c.mayAct() || m.Reply == "" {
		return
	}
	var a nf.FleetAnswer
	if err := c.obey(ctx, m.Data); err != nil {
		a.Error = err.Error()
	}
	a.Document = c.doc
	data, err := json.Marshal(a)
	if err == nil {
		err = m.Respond(data)
	}
	if err != nil {
		c.Say(slog.LevelWarn, "cannot answer an operator: "+err.Error())
	}
}

// obey does what an ask asks for. After an error nothing was done, unless the error says otherwise.
func (c *Coordinator) obey(ctx context.Context, data []byte) error {
	var ask nf.FleetAsk
	if err := json.Unmarshal(data, &ask); err != nil {
		return fmt.Errorf("the question cannot be read: %w", err)
	}
	ask.Reason, ask.By = shorten(ask.Reason, maxReason), shorten(ask.By, maxBy)
	for range maxTries {
		if err := c.readAll(ctx); err != nil {
			return err
		}
		if !c.mayAct() {
			return errors.New("this coordinator has lost the lease: ask again")
		}
		err := c.obeyNow(ctx, ask)
		if !errors.Is(err, errConflict) {
			return err
		}
	}
	return errors.New("another coordinator writes at the same time: ask again")
}

func (c *Coordinator) obeyNow(ctx context.Context, ask nf.FleetAsk) error {
	if c.doc == nil {
		return errors.New("there is no roll-out: none has begun")
	}
	next, err := rollout.Obey(*c.doc, ask, c.situation().heard(), c.now())
	if err != nil {
		return err
	}
	switch ask.Verb {
	case nf.AskWake:
		return c.store.wake()
	case nf.AskRelease:
		return c.release(ctx, ask.Revision)
	}
	if next.Generation == c.doc.Generation { // it is so already, unless a replica that lags has answered
		return c.store.confirmDocument(ctx, c.sequence)
	}
	c.Say(slog.LevelInfo, fmt.Sprintf("%s, asked by %s: %s", ask.Verb, ask.By, ask.Reason))
	err = c.write(ctx, c.situation().signedOff(next, c.doc.Generation+1))
	if err != nil && !errors.Is(err, errConflict) {
		return fmt.Errorf("it is not known whether it was done: %w: look with nfsync fleet rollout", err)
	}
	return err
}

// release ends the grant of a node.
func (c *Coordinator) release(ctx context.Context, node string) error {
	g, ok := c.heard.grants[node]
	if !ok || g.forged != "" || g.Channel != c.Channel || g.Until.IsZero() {
		return fmt.Errorf("%q has no grant", shorten(node, nf.MaxFleetName))
	}
	return c.writeGrant(ctx, rollout.Release(g.RestartGrant))
}
