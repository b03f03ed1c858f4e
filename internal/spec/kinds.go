package spec

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/policytree"
)

// kindOther stands for the kind of a document that is neither a policy nor of another kind
// that nfsync reads.
const kindOther = "other"

// outputKinds are kinds that nfsync prints and does not read as policies.
var outputKinds = []string{nf.KindConfirmation, nf.KindPlan, nf.KindReceipt, nf.KindDiagnostics, nf.KindDoctor, nf.KindExplanation, nf.KindRecovery, nf.KindSchemaList, nf.KindVersion, nf.KindVocabulary, nf.KindPolicyTestResults, nf.KindRolloutDocument}

// inputKinds are the kinds of documents that may be below a policy path.
var inputKinds = slices.Concat(checkedKinds, policyKinds)

// checkedKinds are those of them that are no policies.
var checkedKinds = []string{nf.KindAgentConfig, nf.KindCoordinatorConfig, nf.KindNodeSnapshot, nf.KindPolicyTest, nf.KindRollout}

// kindOf returns how a document below a policy path is read: as one of checkedKinds, as no kind that nfsync
// reads (kindOther) or, with an empty result, as a policy.
// A document with some of the keys of a policy is one, if only one with errors.
func kindOf(n *yaml.Node) string {
	if n.Kind != yaml.MappingNode {
		return kindOther
	}
	version, hasVersion := textOf(n, "apiVersion")
	kind, _ := textOf(n, "kind")
	switch {
	case hasVersion && !strings.HasPrefix(version, "nfsync.dev/") && !slices.Contains(policyKinds, kind):
		return kindOther
	case slices.Contains(checkedKinds, kind):
		return kind
	case slices.Contains(outputKinds, kind), len(n.Content) > 0 && !hasPolicyKey(n):
		return kindOther
	}
	return ""
}

// textOf returns the text of a key of a mapping.
func textOf(n *yaml.Node, key string) (string, bool) {
	value := valueOf(n, key)
	if value == nil || value.Kind != yaml.ScalarNode || value.Tag != "!!str" {
		return "", false
	}
	return value.Value, true
}

func hasPolicyKey(n *yaml.Node) bool {
	return slices.ContainsFunc([]string{"apiVersion", "kind", "metadata", "spec"}, func(key string) bool { return valueOf(n, key) != nil })
}

// other reports a document that is no policy.
func (p *parser) other(n *yaml.Node) {
	const ways = "name the file in " + policytree.IgnoreFile + ", or move it out of the policy path"
	version, hasVersion := textOf(n, "apiVersion")
	kind, _ := textOf(n, "kind")
	switch {
	case n.Kind != yaml.MappingNode:
		p.report(n, RuleWrongType, "if it is no policy, "+ways, "the document must be a mapping, not %s", p.describe(n))
	case slices.Contains(outputKinds, kind):
		p.report(valueOf(n, "kind"), RuleWrongKind, ways, "the kind %s is not a policy", kind)
	case hasVersion:
		p.report(valueOf(n, "apiVersion"), RuleWrongKind, "write "+nf.APIVersion+"; if it is no policy, "+ways,
			"not a policy: unknown apiVersion %s", quote(version))
	default:
		p.report(n, RuleWrongKind, "a policy begins with apiVersion: "+nf.APIVersion+"; if it is none, "+ways,
			"not a policy: it has neither apiVersion nor kind, metadata or spec")
	}
}

// snapshotDocument checks a NodeSnapshot.
func (p *parser) snapshotDocument(n *yaml.Node) {
	before := p.found.count()
	p.nulls = true
	p.vet(n, 1)
	if p.found.count() > before {
		return
	}
	root := fromYAML(n)
	if isSnapshot(&root, p.found) {
		r := newSnapshotReader(p.found)
		r.takeAll(&root)
		r.read(&root)
	}
}
