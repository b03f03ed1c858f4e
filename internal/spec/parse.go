package spec

import (
	"bytes"
	"cmp"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
)

// Parse reads the policies of all files, as ParseAll does.
func Parse(files []File) (Policies, []Diagnostic) {
	parsed, found := ParseAll(files)
	return parsed.Policies, found
}

// Parsed is what files hold.
type Parsed struct {
	Policies Policies
	Tests    []PolicyTest // in the order of file and line
	// Rollout says how a new revision reaches the nodes of a fleet: nf.DefaultRolloutPlan, if no
	// document does.
	Rollout nf.RolloutPlan
}

// ParseAll reads the policies and the tests of all files. The diagnostics are the first hundred
// errors, in the order of file, line and column, and the number of the others; with one of them
// there is nothing else.
func ParseAll(files []File) (Parsed, []Diagnostic) {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	files = slices.CompactFunc(files, func(a, b File) bool { return a.Name == b.Name && bytes.Equal(a.Data, b.Data) })
	list := Parsed{Rollout: nf.DefaultRolloutPlan()}
	var all []Diagnostic
	var open []File // that hold no secrets
	names := map[[2]string]nf.Source{}
	var plan *rollout
	for _, f := range files {
		parsed, found := parseFile(f)
		reportSameNames(parsed, names, found)
		reportRollouts(parsed.rollouts, &plan, found)
		list.Policies = append(list.Policies, parsed.policies...)
		list.Tests = append(list.Tests, parsed.tests...)
		all = Limit(append(all, found.sorted()...))
		if !found.secret {
			open = append(open, f)
		}
	}
	if len(all) > 0 {
		AddText(all, open...)
		return Parsed{}, all
	}
	if plan != nil {
		list.Rollout = plan.Plan
	}
	return list, nil
}

// reportSameNames reports policies of one kind, or tests, that have the same name: messages,
// conflicts and memory identify policies by name, and --run selects tests.
func reportSameNames(parsed parsedFile, names map[[2]string]nf.Source, found *diagnostics) {
	check := func(kind, hint string, at nf.Source) {
		if kind == "" || at.Name == "" {
			return
		}
		if first, taken := names[[2]string{kind, at.Name}]; taken {
			found.add(RuleDuplicateName, at.Line, at.Column,
				"the name "+quote(at.Name)+" is already defined by another "+kind+" at "+first.String(), hint)
			return
		}
		names[[2]string{kind, at.Name}] = at
	}
	for _, policy := range parsed.policies {
		check(policy.Kind, "give each policy of a kind a name of its own", policy.Source)
	}
	for _, test := range parsed.tests {
		check(nf.KindPolicyTest, "give each test a name of its own", test.Source)
	}
}

// parsedFile is what one file holds.
type parsedFile struct {
	policies Policies
	tests    []PolicyTest
	rollouts []rollout
}

// parseFile reads one file, as far as it can be read.
func parseFile(f File) (parsedFile, *diagnostics) {
	found := &diagnostics{file: f.Name}
	text, ok := checkText(f.Data, maxPolicyFile, found)
	if !ok {
		return parsedFile{}, found
	}
	found.secret = mayHoldSecrets(text)
	p := newParser(text, found)
	var parsed parsedFile
	other := false // a document of no kind that is read is reported once a file
	for _, document := range decodeYAML(text, found) {
		switch kind := kindOf(document); {
		case kind == nf.KindAgentConfig:
			checker := newParser(text, found)
			checker.hidesScalars = true
			checker.agentDocument(document, new(AgentConfig))
		case kind == nf.KindCoordinatorConfig:
			checker := newParser(text, found)
			checker.hidesScalars = true
			checker.coordinatorDocument(document, new(CoordinatorConfig))
		case kind == nf.KindNodeSnapshot:
			newParser(text, found).snapshotDocument(document)
		case kind == nf.KindPolicyTest:
			p.vet(document, 1)
			if !p.bad[document] {
				parsed.tests = append(parsed.tests, p.policyTest(document))
			}
		case kind == nf.KindRollout:
			p.vet(document, 1)
			if !p.bad[document] {
				parsed.rollouts = append(parsed.rollouts, p.rollout(document))
			}
		case kind == kindOther && !other:
			other = true
			p.other(document)
		case kind == kindOther:
		default:
			p.vet(document, 1)
			if !p.bad[document] {
				parsed.policies = append(parsed.policies, p.policy(document))
			}
		}
	}
	return parsed, found
}

// mayHoldSecrets reports whether a text, even one that cannot be parsed, is a configuration: its lines are not shown.
func mayHoldSecrets(text []byte) bool {
	return bytes.Contains(text, []byte(nf.KindAgentConfig)) || bytes.Contains(text, []byte(nf.KindCoordinatorConfig))
}

// policy reads one document.
func (p *parser) policy(n *yaml.Node) Policy {
	policy := Policy{Restart: nf.RestartRefuse}
	if kind := p.value(n, "kind"); kind != nil && kind.Tag == "!!str" && slices.Contains(policyKinds, kind.Value) {
		policy.Kind = kind.Value // it determines the keys of spec
	}
	if policy.Kind == nf.KindNodePolicy {
		policy.Restart = ""
	}
	p.mapping(fields{
		"apiVersion": p.apiVersion,
		"kind":       p.kind,
		"metadata":   p.mapping(fields{"name": func(path string, n *yaml.Node) { policy.Source = p.named(path, n) }}, []string{"name"}, nil),
		"spec":       func(path string, n *yaml.Node) { p.spec(path, n, &policy) },
	}, []string{"apiVersion", "kind", "metadata", "spec"}, nil)("", n)
	for i := range policy.Wishes {
		policy.Wishes[i].Source.Name = policy.Source.Name
	}
	return policy
}

var policyKinds = []string{nf.KindContainerPolicy, nf.KindNodePolicy}

func (p *parser) apiVersion(path string, n *yaml.Node) {
	if version, ok := p.text(path, n); ok && version != nf.APIVersion {
		p.report(n, RuleWrongKind, "write "+nf.APIVersion, "unknown apiVersion %s: this nfsync reads %s", quote(version), nf.APIVersion)
	}
}

func (p *parser) kind(path string, n *yaml.Node) {
	if kind, ok := p.text(path, n); ok && !slices.Contains(policyKinds, kind) {
		p.report(n, RuleWrongKind, "one of ContainerPolicy, NodePolicy", "unknown kind %s%s", quote(kind), didYouMean(kind, inputKinds))
	}
}

var validName = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)

// named reads metadata.name, and returns it with its place; nothing if it is not valid.
func (p *parser) named(path string, n *yaml.Node) (at nf.Source) {
	const hint = "lower-case letters, digits, - and ., a letter or digit first and last"
	if name, ok := p.textThat(validName.MatchString, hint, "%s: %s is not a valid name")(path, n); ok {
		at = p.source(n)
		at.Name = name
	}
	return at
}

func (p *parser) source(n *yaml.Node) nf.Source {
	return nf.Source{File: p.found.file, Line: n.Line, Column: n.Column}
}

// foreign explains why a key that belongs elsewhere is not known here, and how to mend
// it.
type foreign struct{ why, hint string }

var (
	notOfNode = map[string]foreign{
		"containers": {"it selects the node itself", "containers are selected by a ContainerPolicy"},
		"restart":    {"a node is never restarted", "restart belongs to the level of a ContainerPolicy"},
	}
	notOfContainer = map[string]foreign{
		"modules":           {"modules are the node's", "put it in a NodePolicy"},
		"modulesAboveLevel": {"modules are the node's", "put it in a NodePolicy"},
	}
	notOfContainerConntrack = map[string]foreign{
		"buckets":   {"the hash table is the node's", "put it in a NodePolicy"},
		"expectMax": {"the limit of expectations is the node's", "put it in a NodePolicy"},
	}
)

// spec reads the keys of the policy's kind. If the kind is unknown, so are they.
func (p *parser) spec(path string, n *yaml.Node, policy *Policy) {
	switch policy.Kind {
	case nf.KindNodePolicy:
		p.nodeSpec(path, n, policy)
	case nf.KindContainerPolicy:
		p.containerSpec(path, n, policy)
	default:
		p.isMapping(path, n)
	}
}

func (p *parser) nodeSpec(path string, n *yaml.Node, policy *Policy) {
	want := p.commonSpec(policy)
	want["modulesAboveLevel"] = p.wish(policy, nf.KeyAboveLevel, exactly(p.word("value of modulesAboveLevel", "keep", "unload"), nf.Text))
	want["modules"] = func(path string, n *yaml.Node) { p.modules(path, n, policy) }
	limits := map[string]nf.Key{"max": nf.KeyMax, "buckets": nf.KeyBuckets, "expectMax": nf.KeyExpectMax}
	want["conntrack"] = p.conntrack(policy, limits, nil)
	p.mapping(want, nil, notOfNode)(path, n)
}

func (p *parser) containerSpec(path string, n *yaml.Node, policy *Policy) {
	want := p.commonSpec(policy)
	want["containers"] = p.containers(&policy.Containers)
	want["restart"] = store((*string)(&policy.Restart),
		p.word("value of restart", string(nf.RestartRefuse), string(nf.RestartStage), string(nf.RestartAllow)))
	want["conntrack"] = p.conntrack(policy, map[string]nf.Key{"max": nf.KeyMax}, notOfContainerConntrack)
	p.mapping(want, nil, notOfContainer)(path, n)
	if policy.Restart != nf.RestartRefuse && policy.Containers.excludesVZ() {
		p.report(p.value(n, "restart"), RuleInvalidValue, "write refuse, or select containers of vz too",
			"restart: %s has no meaning for containers of %s: nfsync restarts only those of vz",
			policy.Restart, strings.Join(sortedSet(policy.Containers.Runtimes), ", "))
	}
}

// commonSpec are the keys that both kinds have.
func (p *parser) commonSpec(policy *Policy) fields {
	return fields{
		"priority": func(path string, n *yaml.Node) {
			priority, _ := p.integer(path, n, math.MinInt32, math.MaxInt32)
			policy.Priority = int(priority)
		},
		"nodes": p.nodes(&policy.Nodes),
		"level": p.wish(policy, nf.KeyLevel, exactly(p.word("level", nf.LevelNames()...), func(name string) nf.Value {
			level, _ := nf.ParseLevel(name)
			return level.Value()
		})),
	}
}

func (p *parser) nodes(nodes *NodeSelector) field {
	return p.mapping(fields{
		"names":  store(&nodes.Names, p.texts(p.glob())),
		"labels": store(&nodes.Labels, p.labels(p.text)),
	}, nil, nil)
}

func (p *parser) containers(containers *ContainerSelector) field {
	return p.mapping(fields{
		"names":    store(&containers.Names, p.texts(p.glob())),
		"ids":      store(&containers.IDs, p.texts(p.text)),
		"labels":   store(&containers.Labels, p.labels(p.anyText)),
		"runtimes": store(&containers.Runtimes, p.texts(p.runtime())),
	}, nil, nil)
}

func (p *parser) runtime() reader[string] { return p.word("runtime", nf.Runtimes()...) }

func (p *parser) glob() reader[string] {
	isGlob := func(pattern string) bool {
		_, err := path.Match(pattern, "")
		return err == nil
	}
	return p.textThat(isGlob, `*, ? and [a-z] are patterns; \ takes the next character as it is`, "%s: malformed glob %s")
}

// labels returns a function that reads labels, whose values value reads.
func (p *parser) labels(value reader[string]) reader[map[string]string] {
	return func(path string, n *yaml.Node) (map[string]string, bool) {
		labels := map[string]string{}
		p.entries(path, n, func(key *yaml.Node) field {
			if key.Value == "" {
				p.report(key, RuleInvalidValue, "", "%s: a label must have a name", path)
				return nil
			}
			return func(path string, n *yaml.Node) {
				if text, ok := value(path, n); ok {
					labels[key.Value] = text
				}
			}
		})
		if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
			p.report(n, RuleEmptyValue, "name at least one label, or remove the key", "%s must not be empty", path)
		}
		return labels, true
	}
}

// wish returns a function that adds what is read to the wishes of a policy.
func (p *parser) wish(policy *Policy, key nf.Key, read reader[nf.Wish]) field {
	return func(path string, n *yaml.Node) {
		if wish, ok := read(path, n); ok {
			policy.Wishes = append(policy.Wishes, KeyWish{Key: key, Wish: wish, Source: p.source(n)})
		}
	}
}

// exactly returns a function that reads a wish for the very value of what is read.
func exactly[T any](read reader[T], value func(T) nf.Value) reader[nf.Wish] {
	return func(path string, n *yaml.Node) (nf.Wish, bool) {
		read, ok := read(path, n)
		return nf.Exactly(value(read)), ok
	}
}
