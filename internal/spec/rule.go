package spec

// Rule names a kind of error in a file. Rules are stable: programs that read
// diagnostics rely on them.
type Rule string

// The rules.
const (
	RuleAlias            Rule = "alias"
	RuleAnchor           Rule = "anchor"
	RuleConflict         Rule = "conflict"
	RuleDuplicateKey     Rule = "duplicate-key"
	RuleDuplicateName    Rule = "duplicate-name"
	RuleEmptyValue       Rule = "empty-value"
	RuleEncoding         Rule = "encoding"
	RuleExclusiveKeys    Rule = "exclusive-keys"
	RuleForbiddenFile    Rule = "forbidden-file"
	RuleInvalidValue     Rule = "invalid-value"
	RuleMergeKey         Rule = "merge-key"
	RuleMissingKey       Rule = "missing-key"
	RuleNesting          Rule = "nesting"
	RuleNoDocument       Rule = "no-document"
	RuleNoPolicies       Rule = "no-policies"
	RuleNoValue          Rule = "no-value"
	RuleOutOfRange       Rule = "out-of-range"
	RuleSeveralDocuments Rule = "several-documents"
	RuleSyntax           Rule = "syntax"
	RuleTag              Rule = "tag"
	RuleTooLarge         Rule = "too-large"
	RuleUnknownKey       Rule = "unknown-key"
	RuleUnknownWord      Rule = "unknown-word"
	RuleWrongKind        Rule = "wrong-kind"
	RuleWrongType        Rule = "wrong-type"
)

// RuleText explains a rule: its meaning, how to mend the file, and an example of what is
// not allowed.
type RuleText struct {
	Rule    Rule   `json:"rule"`
	Meaning string `json:"meaning"`
	Remedy  string `json:"remedy"`
	Example string `json:"example"`
}

// Rules explains every rule, sorted by name.
func Rules() []RuleText {
	return []RuleText{
		{RuleAlias, "YAML aliases (*name) are not allowed.", "write the value out wherever it is needed", "spec: {level: *common}"},
		{RuleAnchor, "YAML anchors (&name) are not allowed.", "remove the anchor, and write the value out wherever it is needed", "spec: {level: &common full}"},
		{RuleConflict, "Policies with the same selectors want different things for one key, with equal priority, or for two keys that set one value of the kernel.", "give one of the two a higher spec.priority, or selectors of its own; set a value that has two keys under one of them", "max: 1000 in one policy and max: 2000 in another, both of every container"},
		{RuleDuplicateKey, "A mapping has the same key twice.", "remove one of the two", "spec: {level: full, level: stateful}"},
		{RuleDuplicateName, "A name must be unique, and is already defined: that of a policy of its kind, that of a test, or that of an entry in its list.", "give each a name of its own", "the name web in two policies of one kind"},
		{RuleEmptyValue, "The value is empty, or is a range without any value.", "give it a value, or remove the key", "spec: {nodes: {names: []}}"},
		{RuleEncoding, "The file is not UTF-8, or holds a character that is not allowed.", "save the file as plain UTF-8 text", "a file that was saved as Latin-1"},
		{RuleExclusiveKeys, "Keys are set of which only one may be.", "remove all but one of them", "spec: {modules: {ip_set: {state: unloaded, parameters: {max_sets: 9}}}}"},
		{RuleForbiddenFile, "An entry among the policies is a symbolic link, a submodule or otherwise not a regular file, or its name is not printable UTF-8.", "put the file itself there, or name it in .nfsyncignore", "web.yaml, a link to ../web.yaml"},
		{RuleInvalidValue, "The value has the right type and the wrong form.", "write it in the form that the hint shows", "spec: {conntrack: {timeouts: {udp: soon}}}"},
		{RuleMergeKey, "YAML merge keys (<<) are not allowed.", "write the keys out", "spec: {<<: {level: full}}"},
		{RuleMissingKey, "A required key is missing.", "add the key that the hint shows", "metadata: {}"},
		{RuleNesting, "Mappings and lists are nested too deeply.", "flatten the document", "33 lists in one another"},
		{RuleNoDocument, "The file holds no document.", "begin it with apiVersion and kind", "a configuration that holds only comments"},
		{RuleNoPolicies, "There is no policy below the path.", "write policies there, or name the right path; an emptied path is allowed by --allow-empty, or by source.allowEmpty in the agent's configuration", "a directory whose only policy was removed"},
		{RuleNoValue, "A key or a list entry has no value (null).", "give it a value, or remove it", "spec: {level: }"},
		{RuleOutOfRange, "The number is too small or too large.", "use a number in the range that the message names", "spec: {conntrack: {max: 0}}"},
		{RuleSeveralDocuments, "A file holds more than one document where one is allowed, or a policy path more than one Rollout.", "write one document a file, and one Rollout for all nodes", "a configuration with a line --- and another document behind it"},
		{RuleSyntax, "The file is not valid YAML or JSON.", "mend the syntax at the place that the message names", "spec: {level: full"},
		{RuleTag, "YAML tags (!name) are not allowed.", "remove the tag; a text that begins with ! needs quotes", "spec: {level: !common full}"},
		{RuleTooLarge, "The file is larger, or holds more values, than is allowed.", "split it into several files, or name it in .nfsyncignore if it is no policy", "a policy file of 2 MiB"},
		{RuleUnknownKey, "The key is not known in this place.", "mend its spelling, or remove it: the hint lists the known keys", "spec: {maxConnections: 1000}"},
		{RuleUnknownWord, "The word is none of those that the key may have.", "use one of the words that the hint lists", "spec: {level: ful}"},
		{RuleWrongKind, "The document is of another kind or version than is expected here.", "mend apiVersion and kind; if it is no policy, name its file in .nfsyncignore, or move it out of the policy path", "kind: Deployment"},
		{RuleWrongType, "The value is of another type than the key takes: a text, a number, a list or a mapping.", "write the type that the message names", "spec: {level: 3}"},
	}
}

// ExplainRule returns the explanation of a rule.
func ExplainRule(name string) (RuleText, bool) {
	for _, r := range Rules() {
		if string(r.Rule) == name {
			return r, true
		}
	}
	return RuleText{}, false
}
