package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"nfsync.dev/nfsync/internal/fleet"
)

// lease says which coordinator is at work. The store forgets one that is not renewed.
type lease struct {
	coordinator string // the name
	instance    string // of this process
	sequence    uint64 // of our value; 0: we do not hold it
	renewed     time.Time
	asked       bool   // whether it was asked for before
	holder      string // who held it when it was last asked for
	// lapsed is set when it was taken and the store had none: for some time no coordinator has heard the nodes.
	lapsed bool
	// ahead is how far the store's clock was ahead of ours, at a time of ours.
	ahead time.Duration
	at    time.Time // the zero time: it is not known
}

// time returns the store's time at a time of ours. It counts what has passed since the store was asked, so that a clock that
// is set meanwhile does not matter.
func (l *lease) time(now time.Time) time.Time {
	if !l.at.IsZero() {
		now = l.at.Add(now.Sub(l.at))
	}
	return now.Add(l.ahead).UTC()
}

// leaseValue is the value in the store. An empty one was given up.
type leaseValue struct {
	Coordinator string `json:"coordinator"`
	Instance    string `json:"instance"`
}

// held reports whether the lease is ours: it was renewed less than trust ago, by the clock of this process.
func (l *lease) held(now time.Time, trust time.Duration) bool {
	return l.sequence > 0 && now.Sub(l.renewed) < trust
}

// renew renews the lease, or takes one that nobody holds. The first time it takes one with the name of this coordinator
// too: that was held by the process before this one.
func (l *lease) renew(ctx context.Context, s *store) error {
	began := time.Now()
	if l.sequence > 0 {
		err := l.write(ctx, s, leaseValue{l.coordinator, l.instance}, l.sequence, began)
		if !errors.Is(err, errConflict) {
			return err
		}
		l.sequence = 0 // it was forgotten or taken
	}
	v, err := s.last(ctx, fleet.StreamLease, s.channel)
	if err != nil {
		return err
	}
	var was leaseValue
	if v.Sequence > 0 {
		if err := json.Unmarshal(v.Data, &was); err != nil {
			return fmt.Errorf("the lease in the store is none: %w", err)
		}
	}
	l.lapsed = l.lapsed || v.Sequence == 0
	first := !l.asked
	l.asked, l.holder = true, was.Coordinator
	free := was.Instance == "" || was.Instance == l.instance || first && was.Coordinator == l.coordinator
	if !free {
		return nil
	}
	err = l.write(ctx, s, leaseValue{l.coordinator, l.instance}, v.Sequence, began)
	if errors.Is(err, errConflict) {
		return nil // another one was faster
	}
	return err
}

func (l *lease) write(ctx context.Context, s *store, v leaseValue, sequence uint64, began time.Time) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	written, err := s.set(ctx, fleet.SubjectLease+s.channel, data, sequence)
	if err != nil {
		return err
	}
	l.sequence, l.renewed, l.holder = written, began, v.Coordinator
	ended := time.Now()
	if is, err := s.last(ctx, fleet.StreamLease, s.channel); err == nil && is.Sequence == written {
		l.ahead, l.at = aheadOf(is.Put, began, ended), ended
	}
	return nil
}

// aheadOf returns how far a clock is ahead of ours that has put something between two times of ours. What may be the way
// of a request is no difference.
func aheadOf(put, began, ended time.Time) time.Duration {
	switch {
	case put.Before(began):
		return put.Sub(began)
	case put.After(ended):
		return put.Sub(ended)
	}
	return 0
}

// giveUp lets another coordinator take the lease at once.
func (l *lease) giveUp(ctx context.Context, s *store) error {
	if l.sequence == 0 {
		return nil
	}
	err := l.write(ctx, s, leaseValue{}, l.sequence, time.Now())
	l.sequence = 0
	return err
}
