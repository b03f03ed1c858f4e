package spec

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
)

// rollout is a document that says how new revisions reach the nodes of a fleet.
type rollout struct {
	Source nf.Source // of the document
	Plan   nf.RolloutPlan
}

// The bounds of a plan. It is part of a document that each node reads, and that a store keeps.
const (
	maxGroups    = 100
	maxSteps     = 20
	maxWindows   = 50
	maxGroupName = 63
	maxPlan      = 8 << 10 // bytes, as JSON
	// minSilence is more than twice the time between two messages of a node at work.
	minSilence = 5 * time.Minute
)

// Keys that people may expect in a Rollout.
var (
	notOfRollout = map[string]foreign{
		"fractions": {"the fractions of the nodes are steps", "write it as steps: [1%, 10%, 100%]"},
		"nodes":     {"all nodes of the fleet take part", "groups select nodes by their labels"},
		"rate":      {"it is how many nodes start in a second", "write startRate"},
		"schedule":  {"the times at which a step may begin are windows", `write it as windows: [{start: "09:00", end: "16:00"}]`},
	}
	notOfGroup = map[string]foreign{
		"match":    {"a group is selected by labels", "write it as labels: {NAME: VALUE}"},
		"names":    {"a group is selected by labels, which the configuration of each agent has", "write it as labels: {NAME: VALUE}"},
		"nodes":    {"a group is selected by labels", "write it as labels: {NAME: VALUE}"},
		"selector": {"a group is selected by labels", "write it as labels: {NAME: VALUE}"},
	}
	notOfRolloutWindow = map[string]foreign{
		"from":     {"a window has the keys of the agent's restart window", "write start"},
		"timeZone": {"it has a shorter name", "write zone"},
		"timezone": {"it has a shorter name", "write zone"},
		"to":       {"a window has the keys of the agent's restart window", "write end"},
	}
)

// rollout reads a roll-out plan.
func (p *parser) rollout(n *yaml.Node) rollout {
	r := rollout{Source: p.source(n), Plan: nf.DefaultRolloutPlan()}
	p.mapping(fields{
		"apiVersion": p.apiVersion,
		"kind":       func(string, *yaml.Node) {}, // kindOf has read it
		"metadata":   p.mapping(fields{"name": func(path string, n *yaml.Node) { r.Plan.Name = p.named(path, n).Name }}, []string{"name"}, nil),
		"spec":       func(path string, n *yaml.Node) { p.rolloutSpec(path, n, &r.Plan) },
	}, []string{"apiVersion", "kind", "metadata", "spec"}, nil)("", n)
	return r
}

func (p *parser) rolloutSpec(path string, n *yaml.Node, plan *nf.RolloutPlan) {
	before := p.found.count()
	var order string
	var pauses *yaml.Node
	const day = 24 * time.Hour
	p.mapping(fields{
		"groups":      func(path string, n *yaml.Node) { p.groups(path, n, plan) },
		"order":       store(&order, p.word("order", "together", "inOrder")),
		"canaries":    store(&plan.Canaries, p.canaries),
		"steps":       func(path string, n *yaml.Node) { p.steps(path, n, plan) },
		"soak":        store(&plan.Soak, p.seconds(time.Second, 30*day)),
		"startRate":   store(&plan.Rate, p.startRate),
		"deadline":    store(&plan.Deadline, p.seconds(10*time.Second, 7*day)),
		"failures":    p.failures(plan),
		"silence":     store(&plan.Silence, p.seconds(minSilence, day)),
		"restarts":    store(&plan.Restarts, p.restartsAtOnce),
		"windows":     func(path string, n *yaml.Node) { p.rolloutWindows(path, n, plan) },
		"pauseBefore": func(_ string, n *yaml.Node) { pauses = n },
	}, nil, notOfRollout)(path, n)
	plan.InOrder = order == "inOrder"
	if pauses != nil && p.found.count() == before { // else the steps may be others
		p.pauses(below(path, "pauseBefore"), pauses, plan)
	}
	if text, err := json.Marshal(plan); err == nil && len(text) > maxPlan {
		p.report(n, RuleTooLarge, "fewer groups, or fewer and shorter labels", "the plan takes %d bytes as JSON: at most %d are allowed", len(text), maxPlan)
	}
}

func (p *parser) canaries(path string, n *yaml.Node) (int, bool) {
	number, ok := p.integer(path, n, 0, 100_000)
	return int(number), ok
}

func (p *parser) restartsAtOnce(path string, n *yaml.Node) (int, bool) {
	number, ok := p.integer(path, n, 0, 1000)
	return int(number), ok
}

// each reads the entries of a list of at least one entry; most is the largest number of them.
func (p *parser) each(path string, n *yaml.Node, most int, read func(path string, entry *yaml.Node)) {
	switch {
	case n.Kind != yaml.SequenceNode:
		p.report(n, RuleWrongType, "write it as a list: [a, b]", "%s must be a list, not %s", path, p.describe(n))
		return
	case len(n.Content) == 0:
		p.report(n, RuleEmptyValue, "name at least one, or remove the key", "%s must not be empty", path)
	case len(n.Content) > most:
		p.report(n.Content[most], RuleTooLarge, "", "%s has %d entries: at most %d are allowed", path, len(n.Content), most)
		return
	}
	for i, entry := range n.Content {
		if !p.bad[entry] {
			read(path+"["+strconv.Itoa(i)+"]", entry)
		}
	}
}

func (p *parser) groups(path string, n *yaml.Node, plan *nf.RolloutPlan) {
	lines := map[string]int{}
	p.each(path, n, maxGroups, func(path string, n *yaml.Node) {
		before := p.found.count()
		var group nf.PlanGroup
		p.mapping(fields{
			"name":     store(&group.Name, p.groupName(lines)),
			"labels":   store(&group.Match, p.labels(p.text)),
			"canaries": storePointer(&group.Canaries, p.canaries),
			"restarts": storePointer(&group.Restarts, p.restartsAtOnce),
		}, []string{"name", "labels"}, notOfGroup)(path, n)
		if p.found.count() > before {
			return
		}
		if i := slices.IndexFunc(plan.Groups, func(earlier nf.PlanGroup) bool { return hasAll(group.Match, earlier.Match) }); i >= 0 {
			p.report(valueOf(n, "labels"), RuleInvalidValue, "put the group before "+quote(plan.Groups[i].Name)+", or remove it: a node is of the first group that it matches",
				"%s selects no node: the group %s selects all of its nodes", path, quote(plan.Groups[i].Name))
			return
		}
		plan.Groups = append(plan.Groups, group)
	})
}

// groupName returns a function that reads the name of a group. lines are those of the names before it.
func (p *parser) groupName(lines map[string]int) reader[string] {
	return func(path string, n *yaml.Node) (string, bool) {
		name := p.named(path, n).Name
		switch line := lines[name]; {
		case name == "":
			return "", false
		case name == nf.DefaultGroup:
			p.report(n, RuleInvalidValue, "give it another name", "%s: %s is the group of the nodes that match no group", path, quote(name))
			return "", false
		case len(name) > maxGroupName:
			p.report(n, RuleInvalidValue, "", "%s: %s is longer than %d characters", path, quote(name), maxGroupName)
			return "", false
		case line > 0:
			p.report(n, RuleDuplicateName, "give each group a name of its own", "%s: the name %s is already defined at line %d", path, quote(name), line)
			return "", false
		}
		lines[name] = n.Line
		return name, true
	}
}

// steps reads fractions of the nodes of a group, the last of which is all of them.
func (p *parser) steps(path string, n *yaml.Node, plan *nf.RolloutPlan) {
	before := p.found.count()
	var list []float64
	p.each(path, n, maxSteps, func(path string, n *yaml.Node) {
		f, ok := p.percent(path, n)
		switch {
		case !ok:
		case f == 0:
			p.report(n, RuleOutOfRange, "remove it", "%s must be more than 0%%", path)
		case len(list) > 0 && f <= list[len(list)-1]:
			p.report(n, RuleInvalidValue, "write the steps from the smallest to the largest", "%s must be more than the step before it, %s", path, nf.Percent(list[len(list)-1]))
		default:
			list = append(list, f)
		}
	})
	if p.found.count() > before {
		return
	}
	if last := len(list) - 1; list[last] != 1 {
		p.report(n.Content[last], RuleInvalidValue, "add 100%", "%s must end with 100%%: else some nodes would never take a revision", path)
		return
	}
	plan.Fractions = list
}

var percentage = regexp.MustCompile(`^(0|[1-9][0-9]?|100)(\.[0-9]{1,3})?%$`)

// percent reads a percentage, as a fraction.
func (p *parser) percent(path string, n *yaml.Node) (float64, bool) {
	const hint = "write it as 5% or 0.5%"
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		p.report(n, RuleWrongType, hint, "%s must be a percentage, not %s", path, describe(n))
		return 0, false
	}
	// As a decimal number, moved by two digits: a division would give another one than 0.001 of 0.1%.
	fraction, err := strconv.ParseFloat(strings.TrimSuffix(n.Value, "%")+"e-2", 64)
	if err != nil || fraction > 1 || !percentage.MatchString(n.Value) {
		p.report(n, RuleInvalidValue, hint, "%s: %s is not a percentage from 0%% to 100%%", path, quote(n.Value))
		return 0, false
	}
	return fraction, true
}

// seconds returns a function that reads a duration of whole seconds.
func (p *parser) seconds(least, most time.Duration) reader[nf.Seconds] {
	return func(path string, n *yaml.Node) (nf.Seconds, bool) {
		seconds, ok := p.timeout(path, n)
		if d := time.Duration(seconds) * time.Second; ok && (d < least || d > most) {
			p.report(n, RuleOutOfRange, "", "%s must be %d to %d seconds, not %s", path, least/time.Second, most/time.Second, quote(n.Value))
			return 0, false
		}
		return nf.Seconds(seconds), ok
	}
}

var plainNumber = regexp.MustCompile(`^(0|[1-9][0-9]{0,5})(\.[0-9]{1,3})?$`)

// startRate reads how many nodes begin in a second.
func (p *parser) startRate(path string, n *yaml.Node) (float64, bool) {
	const hint = "nodes a second, as in 100 or 0.5"
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!float" {
		p.report(n, RuleWrongType, hint, "%s must be a number, not %s", path, describe(n))
		return 0, false
	}
	rate, err := strconv.ParseFloat(n.Value, 64)
	switch {
	case err != nil || !plainNumber.MatchString(n.Value):
		p.report(n, RuleInvalidValue, hint, "%s: %s is not a plain decimal number of at most three decimals", path, quote(n.Value))
		return 0, false
	case rate < 0.01 || rate > 10_000:
		p.report(n, RuleOutOfRange, hint, "%s must be 0.01 to 10000, not %s", path, brief(n.Value))
		return 0, false
	}
	return rate, true
}

func (p *parser) failures(plan *nf.RolloutPlan) field {
	var refusals string
	read := p.mapping(fields{
		"count":    store(&plan.FailureCount, p.canaries),
		"fraction": store(&plan.FailureFraction, p.percent),
		"refusals": store(&refusals, p.word("value of refusals", "ignore", "fail")),
	}, nil, nil)
	return func(path string, n *yaml.Node) {
		read(path, n)
		plan.RefusalsFail = refusals == "fail"
	}
}

func (p *parser) rolloutWindows(path string, n *yaml.Node, plan *nf.RolloutPlan) {
	p.each(path, n, maxWindows, func(path string, n *yaml.Node) {
		var window Window
		zone := "UTC"
		p.window(path, n, &window, fields{"zone": store(&zone, p.zone())}, notOfRolloutWindow)
		plan.Windows = append(plan.Windows, nf.RolloutWindow{Days: window.Days, Start: nf.Seconds(window.Start / time.Second), End: nf.Seconds(window.End / time.Second), Zone: zone})
	})
}

// pauses reads the names of steps before which the roll-out waits for a person.
func (p *parser) pauses(path string, n *yaml.Node, plan *nf.RolloutPlan) {
	names := plan.StepNames()
	lines := map[int]int{}
	p.each(path, n, maxSteps+1, func(path string, n *yaml.Node) {
		name, ok := p.text(path, n)
		if !ok {
			return
		}
		step := slices.Index(names, name)
		if f, err := strconv.ParseFloat(strings.TrimSuffix(name, "%")+"e-2", 64); step < 0 && err == nil && percentage.MatchString(name) {
			step = slices.Index(names, nf.Percent(f)) // 5.0% is 5%
		}
		switch line := lines[step]; {
		case step < 0:
			p.report(n, RuleUnknownWord, "one of "+strings.Join(names, ", "), "%s: there is no step %s%s", path, quote(name), didYouMean(name, names))
		case line > 0:
			p.report(n, RuleDuplicateName, "remove one of the two", "%s: the step %s is already named at line %d", path, quote(name), line)
		default:
			lines[step] = n.Line
		}
	})
	plan.PauseBefore = slices.Sorted(maps.Keys(lines))
}

// reportRollouts reports each Rollout but the first: a fleet has one plan.
func reportRollouts(rollouts []rollout, first **rollout, found *diagnostics) {
	for i := range rollouts {
		if *first == nil {
			*first = &rollouts[i]
			continue
		}
		at := rollouts[i].Source
		found.add(RuleSeveralDocuments, at.Line, at.Column, fmt.Sprintf("a second %s: the first one is at %s", nf.KindRollout, (*first).Source),
			"write one for all nodes; its groups can differ in canaries and restarts")
	}
}
