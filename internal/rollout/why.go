package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// Why returns why the roll-out waits, and what comes next, in words for people. next is empty if nothing does.
func Why(doc nf.RolloutDocument, nodes []nf.HeardNode, now time.Time) (waits, next string) {
	if doc.Revision == "" {
		return "there is no roll-out", ""
	}
	if isForeign(&doc) {
		return foreign, "another revision is rolled out"
	}
	d := decide(doc, Heard{Nodes: nodes}, now)
	if deaf := d.whyDeaf(); deaf != "" {
		return deaf, "it goes on when they are heard of again, or when they are retired"
	}
	switch doc.State {
	case nf.RolloutRolling:
		if doc.Step < 0 {
			return d.whyNotBegun(), d.next()
		}
		return d.whyRolling(), "soak " + words(doc.Plan.Soak) + ", then " + d.next()
	case nf.RolloutSoaking:
		return d.whySoaking(), d.next()
	case nf.RolloutPaused:
		if doc.AwaitsApproval {
			return doc.Reason, "it begins when a person approves it: nfsync fleet rollout approve"
		}
		return doc.Reason, "it goes on when a person resumes it: nfsync fleet rollout resume"
	case nf.RolloutHalted:
		switch {
		case doc.Recovered && isWithdrawn(doc, doc.Revision):
			return "halted: " + doc.Reason, "a person aborts it, and another revision is rolled out"
		case doc.Recovered: // a commit that somebody pushes does not end that
			return "halted: " + doc.Reason, "a person resumes or aborts it"
		case isWithdrawn(doc, doc.Revision):
			return "halted: " + doc.Reason, "another revision is rolled out"
		}
		return "halted: " + doc.Reason, "a person resumes or aborts it, or another revision is rolled out"
	case nf.RolloutAborted:
		return doc.Reason, "another revision is rolled out"
	}
	return d.whyDone(), ""
}

// whyDeaf says that too few nodes are heard of; empty: enough are, or that is not what the roll-out waits for.
func (d *decision) whyDeaf() string {
	if s := d.doc.State; s != nf.RolloutRolling && s != nf.RolloutSoaking || !d.isDeaf() || d.survey.live() == 0 && d.doc.Step < 0 {
		return ""
	}
	return fmt.Sprintf("%s heard of lately, and it were %d when the step began", were(d.survey.live()), d.doc.Live)
}

func were(n int) string {
	if n == 1 {
		return "only 1 node was"
	}
	return fmt.Sprintf("only %d nodes were", n)
}

func (d *decision) whyNotBegun() string {
	group := d.nextGroup()
	switch {
	case group < 0 && d.survey.live() > 0:
		return "all nodes that were heard of lately are suspended"
	case group < 0:
		return "no node was heard of lately"
	case d.group() >= 0:
		return d.whyNoStep("no step of group " + d.doc.Groups[group].Name + " has begun")
	}
	return d.whyNoStep("no step has begun")
}

func (d *decision) whyRolling() string {
	all, _ := d.survey.counts(func(m *member) bool { return m.standing != standsSilent && d.survey.ofStep(m) })
	var names []string
	atWork := false
	for i := range d.survey.members {
		m := &d.survey.members[i]
		if m.standing == standsBegun || m.standing == standsWaiting && d.survey.ofStep(m) {
			names = append(names, m.node.Node)
			atWork = atWork || m.standing == standsBegun
		}
	}
	slices.Sort(names)
	text := fmt.Sprintf("%s: %d of %s ended", d.stepName(d.doc.Step), all.Nodes-all.Waiting-all.Begun, have(all.Nodes))
	switch deadline := d.survey.deadline(); {
	case len(names) == 0 && d.hasEvidence():
		return text
	case len(names) == 0:
		return text + "; no node has begun, and none that is heard of may: they are suspended"
	case d.now.Before(deadline):
		return text + fmt.Sprintf("; it waits for %s, until %s at most", some(names), nf.Clock(deadline))
	case atWork: // see standingOfBegun
		return text + fmt.Sprintf("; it waits for %s, until %s at most", some(names), nf.Clock(deadline.Add(d.doc.Plan.Silence.Duration())))
	}
	return text + fmt.Sprintf("; none has begun by its deadline, and it goes on when one has: it waits for %s", some(names))
}

func (d *decision) whySoaking() string {
	ended := d.stepName(d.doc.Step) + " has ended"
	if d.hasSoaked() {
		return d.whyNoStep(ended)
	}
	return ended + ", and is watched until " + nf.Clock(d.doc.StepEnded.Add(d.doc.Plan.Soak.Duration()))
}

// whyNoStep says why the next step does not begin although it might.
func (d *decision) whyNoStep(since string) string {
	if isOpen(d.doc.Plan.Windows, d.now) {
		return since
	}
	at, ok := opens(d.doc.Plan.Windows, d.now)
	if !ok {
		return since + ", and the time zones of the windows are not known here: no step may begin"
	}
	return since + ", and the next one may begin at " + nf.Clock(at)
}

func (d *decision) whyDone() string {
	all, _ := d.survey.counts(everyMember)
	if left := all.Waiting + all.Silent + all.Begun; left > 0 {
		return fmt.Sprintf("done: every node may take the revision; %d of %s not got it yet", left, have(all.Nodes))
	}
	return "done: every node has the revision"
}

// next names what follows the present step, if nothing fails.
func (d *decision) next() string {
	if d.doc.Step+1 >= len(d.doc.Plan.StepNames()) {
		if group := d.nextGroup(); d.doc.Plan.InOrder && group >= 0 {
			return stepName(&d.doc.Plan, 0) + " of group " + d.doc.Groups[group].Name
		}
		return "the roll-out is done"
	}
	name := d.stepName(d.doc.Step + 1)
	if slices.Contains(d.doc.Plan.PauseBefore, d.doc.Step+1) && d.doc.Approved <= d.doc.Step {
		name += ", when a person approves it"
	}
	return name
}

func have(n int) string {
	if n == 1 {
		return "1 node has"
	}
	return fmt.Sprintf("%d nodes have", n)
}

// words returns a duration without what is zero: 10m instead of 10m0s.
func words(s nf.Seconds) string {
	text := s.Duration().String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
