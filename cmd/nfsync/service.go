package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"nfsync.dev/nfsync/internal/nf"
)

// service tells systemd what the agent does (sd_notify(3)). Without systemd it does nothing.
type service struct {
	// alive reports whether the loop has come round not long ago. One that has not gets no more time.
	alive func() bool
	// hungUp is set from SIGHUP until a lap begins to read the configuration, and reloads from there
	// to the end of that lap.
	hungUp, reloads atomic.Bool
}

func notify(lines ...string) { _, _ = daemon.SdNotify(false, strings.Join(lines, "\n")) }

// A service that starts or stops asks for more time every extendEvery: the first lap, or the one
// that is under way, may restart a container.
const (
	extendEvery = 10 * time.Second
	extendBy    = 30 * time.Second
)

// extend asks for more time until ctx ends.
func (s *service) extend(ctx context.Context) {
	tick := time.NewTicker(extendEvery)
	defer tick.Stop()
	for ctx.Err() == nil && s.alive() {
		notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", extendBy.Microseconds()))
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// aliveEvery returns how often the watchdog of systemd wants a sign of life; 0 if it wants none.
func (s *service) aliveEvery() time.Duration {
	patience, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0 // the variables are not of systemd
	}
	return patience / 2
}

// isAlive gives the watchdog a sign of life.
func (s *service) isAlive() { notify(daemon.SdNotifyWatchdog) }

// hangUp says that the configuration is read again. Type=notify-reload waits for this, and then for
// the end of the lap that does so.
func (s *service) hangUp() {
	s.hungUp.Store(true)
	notify(daemon.SdNotifyReloading, strings.TrimSpace(daemon.SdNotifyMonotonicUsec()))
}

// reads records that a lap begins to read the configuration.
func (s *service) reads() {
	if s.hungUp.CompareAndSwap(true, false) {
		s.reloads.Store(true)
	}
}

// lapEnded says that the service is ready, if this was its first lap or one that SIGHUP has asked
// for.
func (s *service) lapEnded(first bool, now nf.NodeStatus) {
	if s.reloads.CompareAndSwap(true, false) || first {
		notify(daemon.SdNotifyReady, statusLine(now))
	}
}

// stopping says that the agent stops, and asks for time until ctx ends.
func (s *service) stopping(ctx context.Context) {
	notify(daemon.SdNotifyStopping, "STATUS=stopping: the change under way is finished")
	s.extend(ctx)
}

// status shows a status in words.
func (s *service) status(now nf.NodeStatus) { notify(statusLine(now)) }

func statusLine(s nf.NodeStatus) string {
	var parts []string
	if l := s.CurrentLap; l != nil {
		parts = append(parts, fmt.Sprintf("a lap runs since %s (%s)", l.StartedAt.UTC().Format(time.TimeOnly)+" UTC", strings.Join(l.Causes, " ")))
	}
	parts = append(parts, s.Condition(nf.Ready).Message)
	if c := s.Condition(nf.Suspended); c.Status == nf.ConditionTrue {
		parts = append(parts, "suspended "+c.Message)
	}
	return "STATUS=" + oneLine(strings.Join(parts, "; "))
}
