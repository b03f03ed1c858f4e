package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
	"nfsync.dev/nfsync/internal/web"
)

const (
	seeJournal   = "journalctl -u " + AgentUnit + " -e"
	restartAgent = "systemctl restart " + AgentUnit
	startAgent   = "systemctl enable --now " + AgentUnit
)

// agent checks the agent that runs, by what it says of itself.
func (n *Node) agent(ctx context.Context) []view.Check {
	const name = "agent"
	s, err := n.Agent(ctx)
	switch {
	case errors.Is(err, web.ErrNoAgent) && n.Config.isThere():
		return []view.Check{n.group(), warned(name, "no agent is running, though "+n.Config.File+" configures one", startAgent)}
	case errors.Is(err, web.ErrNoAgent):
		return []view.Check{n.group(), passed(name, "none is running, and none is configured")}
	case err != nil:
		return []view.Check{n.group(), n.notSeen(failed(name, "the agent does not answer: "+err.Error(), seeJournal), err)}
	}
	return []view.Check{
		n.group(),
		passed(name, fmt.Sprintf("process %d runs since %s", s.Agent.PID, s.Agent.StartedAt.Local().Format(time.DateTime))),
		n.version(&s), n.lap(&s), conditions(&s), n.listen(ctx), n.openFiles(s.Agent.PID),
	}
}

// group says who may ask the agent.
func (n *Node) group() view.Check {
	const name = "group"
	if _, err := n.LookupGroup(web.Group); err != nil {
		return passed(name, "no group "+web.Group+": root alone may ask the agent. groupadd --system "+web.Group+" lets its members look and wake it")
	}
	return passed(name, "members of "+web.Group+" may ask the agent for its status, and wake it")
}

// version checks whether the agent that runs is this nfsync.
func (n *Node) version(s *nf.NodeStatus) view.Check {
	const name = "version"
	if s.Agent.Version != n.Version {
		return warned(name, fmt.Sprintf("the agent is nfsync %s, and this is %s", s.Agent.Version, n.Version), restartAgent)
	}
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.Agent.PID)); err == nil && strings.HasSuffix(exe, " (deleted)") {
		return warned(name, "the program of the agent was replaced after it started", restartAgent)
	}
	return passed(name, "the agent is this nfsync, "+n.Version)
}

// overdue is how late a lap may be before the loop counts as stuck. The restart of a container takes
// up to eleven minutes.
const overdue = 15 * time.Minute

// lap checks what the last lap did, and whether the next one is late.
func (n *Node) lap(s *nf.NodeStatus) view.Check {
	const name = "last lap"
	for _, next := range s.Next {
		if late := n.Now().Sub(next.At); late > overdue && s.CurrentLap == nil {
			return failed(name, fmt.Sprintf("the next one (%s) is late by %s", next.Cause, late.Round(time.Minute)), restartAgent+", and see "+seeJournal)
		}
	}
	l := s.LastLap
	if l == nil {
		return passed(name, "the first one has not ended")
	}
	text := fmt.Sprintf("%s, at %s", l.Result, l.FinishedAt.Local().Format(time.DateTime))
	switch l.Result {
	case nf.LapError, nf.LapStuck:
		return failed(name, text+": "+l.Error, "nfsync status; "+seeJournal)
	case nf.LapFailed, nf.LapFallback:
		return warned(name, strings.TrimSuffix(text+": "+l.Error, ": "), "nfsync status; "+seeJournal)
	}
	return passed(name, text)
}

// remedies are the commands that show more of a condition that is not as it should be.
var remedies = map[nf.ConditionType]string{
	nf.Suspended:      "nfsync resume",
	nf.RestartPending: "nfsync show",
}

// conditions checks the conditions of the agent's status.
func conditions(s *nf.NodeStatus) view.Check {
	const name = "conditions"
	c := passed(name, "none needs attention")
	var bad []string
	for _, condition := range s.Conditions {
		if good := condition.Status == nf.ConditionTrue == condition.Type.IsGood(); good || condition.Status != nf.ConditionTrue && condition.Status != nf.ConditionFalse {
			continue
		}
		bad = append(bad, strings.TrimSuffix(fmt.Sprintf("%s is %s: %s", condition.Type, condition.Status, condition.Message), ": "))
		remedy := remedies[condition.Type]
		if remedy == "" || c.Remedy != "" && c.Remedy != remedy {
			remedy = "nfsync status"
		}
		if c.Status == view.OK {
			c.Status = view.Warn
		}
		if condition.Type == nf.Stalled {
			c.Status = view.Fail
		}
		c.Remedy = remedy
	}
	if len(bad) > 0 {
		c.Detail = strings.Join(bad, "; ")
	}
	return c
}

// dialTimeout bounds the try of the agent's own address.
const dialTimeout = 3 * time.Second

// listen checks whether the agent's address answers, and who can reach it.
func (n *Node) listen(ctx context.Context) view.Check {
	const name = "address"
	address := cmp.Or(n.Config.Agent.Listen, spec.DefaultListen)
	switch {
	case n.Config.isThere() && (n.Config.Err != nil || len(n.Config.Diagnostics) > 0):
		return unknown(name, "the configuration cannot be used, and the agent may have another one", "nfsync validate "+n.Config.File)
	case address == spec.ListenNone:
		return passed(name, "listen: none: there are no metrics and no webhook")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return failed(name, err.Error(), "nfsync validate "+n.Config.File)
	}
	dial := net.JoinHostPort(host, port)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		dial = net.JoinHostPort("localhost", port)
	}
	c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", dial)
	if err != nil {
		return failed(name, "the agent does not answer on "+address+": "+err.Error(), seeJournal)
	}
	_ = c.Close()
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return warned(name, address+" answers, and can be reached from other machines", "close the port to all but those that need it, or set listen: 127.0.0.1:"+port+" in "+n.Config.File+" and run systemctl reload "+AgentUnit)
	}
	return passed(name, address+" answers, to this machine only")
}

// fewFiles is the limit of open files below which an agent enters the namespaces of some containers
// each time, in place of keeping their files open.
const fewFiles = 100_512

// openFiles checks the limit of open files of the agent.
func (n *Node) openFiles(pid int) view.Check {
	const name = "open files"
	limit, err := n.FileLimit(pid)
	if err != nil {
		return unknown(name, err.Error(), askRoot)
	}
	detail := fmt.Sprintf("the agent may open %d files", limit)
	if limit < fewFiles {
		return warned(name, detail+", and enters namespaces again and again where there are more containers than that is enough for",
			"systemctl edit "+AgentUnit+", and set LimitNOFILE=131072 below [Service]")
	}
	return passed(name, detail)
}
