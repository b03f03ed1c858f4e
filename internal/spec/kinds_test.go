package spec

import (
	"strings"
	"testing"
)

// TestKinds: below a policy path nfsync's other kinds are checked as what they are, and any
// other document is one error a file.
func TestKinds(t *testing.T) {
	const policy = header + "spec: {}\n"
	snapshot := string(read(t, "testdata/snapshot.yaml"))
	agent := "apiVersion: nfsync.dev/v1alpha1\nkind: AgentConfig\nsource: {urls: [https://git.example.com/p.git]}\n"
	policyTest := "apiVersion: nfsync.dev/v1alpha1\nkind: PolicyTest\nmetadata: {name: x}\nspec: {snapshot: a.yaml}\n"
	for name, test := range map[string]struct {
		text     string
		policies int
		errors   []string // the start of each
	}{
		"snapshot":               {snapshot, 0, nil},
		"agent":                  {agent, 0, nil},
		"test":                   {policyTest, 0, nil},
		"test beside a policy":   {policy + "---\n" + policyTest, 1, nil}, // that has the same name
		"test with an error":     {policy + "---\n" + policyTest + "status: {}\n", 0, []string{`x:10:1: unknown key "status" in the document`}},
		"results":                {"apiVersion: nfsync.dev/v1alpha1\nkind: PolicyTestResults\ntests: []\n", 0, []string{"x:2:7: the kind PolicyTestResults is not a policy"}},
		"all":                    {agent + "---\n" + policy + "---\n" + snapshot, 1, nil},
		"agent with an error":    {policy + "---\n" + agent + "mode: stop\n", 0, []string{`x:9:7: unknown mode "stop"`}},
		"snapshot with an error": {strings.Replace(snapshot, "bootID:", "bootId:", 1), 0, []string{`x:1:1: missing key "bootID"`}},
		"errors of two documents": {agent + "mode: stop\n---\n" + strings.Replace(snapshot, "bootID:", "bootId:", 1), 0,
			[]string{`x:4:7: `, `x:6:1: missing key "bootID"`}},
		"plan":          {"apiVersion: nfsync.dev/v1alpha1\nkind: Plan\nid: x\nnode: null\n", 0, []string{"x:2:7: the kind Plan is not a policy"}},
		"diagnostics":   {"apiVersion: nfsync.dev/v1alpha1\nkind: Diagnostics\ndiagnostics: []\npolicies: 1\n", 0, []string{"x:2:7: the kind Diagnostics is not a policy"}},
		"values":        {"image: {tag: *x}\nreplicas: &x 3\n", 0, []string{"x:1:14: an alias"}}, // no YAML
		"compose":       {"services: &a {web: !x {image: ~}}\nb: *a\n", 0, []string{"x:1:1: not a policy: it has neither"}},
		"playbook":      {"- hosts: all\n  tasks: ~\n", 0, []string{"x:1:1: the document must be a mapping, not a list"}},
		"foreign":       {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x, labels: {}}\nspec: ~\n", 0, []string{`x:1:13: not a policy: unknown apiVersion "apps/v1"`}},
		"several":       {"apiVersion: v1\nkind: A\n---\nkey: 1\n---\n- 1\n", 0, []string{"x:1:13: "}},
		"beside":        {policy + "---\nkey: 1\n", 0, []string{"x:6:1: "}},
		"our kind":      {"apiVersion: v1\nkind: NodePolicy\nmetadata: {name: x}\nspec: {}\n", 0, []string{`x:1:13: unknown apiVersion "v1": this nfsync reads`}},
		"other version": {"apiVersion: nfsync.dev/v2\nkind: AgentConfig\n", 0, []string{`x:1:13: unknown apiVersion "nfsync.dev/v2"`}},
	} {
		policies, found := Parse([]File{{Name: "x", Data: []byte(test.text)}})
		wrong := len(policies) != test.policies || len(found) != len(test.errors)
		for i := range min(len(found), len(test.errors)) {
			wrong = wrong || !strings.HasPrefix(found[i].String(), test.errors[i])
		}
		if wrong {
			t.Errorf("%s: %d policies, errors\n%s", name, len(policies), format(found))
		}
	}
}

// TestWaysOut: the error of another document names both ways out.
func TestWaysOut(t *testing.T) {
	for _, text := range []string{"a: 1\n", "- 1\n", "text\n", "apiVersion: v1\nkind: Secret\n", "apiVersion: nfsync.dev/v1alpha1\nkind: Receipt\n"} {
		_, found := Parse([]File{{Name: "x", Data: []byte(text)}})
		if len(found) != 1 || !strings.Contains(found[0].Hint, ".nfsyncignore") || !strings.Contains(found[0].Hint, "move it out of the policy path") {
			t.Errorf("%q: %s", text, format(found))
		}
	}
}

// TestSecretLines: lines of a configuration are not shown, which may hold a secret.
func TestSecretLines(t *testing.T) {
	_, found := Parse([]File{{Name: "agent.yaml", Data: []byte("apiVersion: nfsync.dev/v1alpha1\nkind: AgentConfig\nwebhookSecret: hunter2\n")},
		{Name: "broken.yaml", Data: []byte("kind: AgentConfig\nwebhookSecret: 'hunter2\n")}, {Name: "b.yaml", Data: []byte("kind: X\n")}})
	for _, d := range found {
		if strings.Contains(d.Text+d.Message+d.Hint, "hunter2") || d.File == "b.yaml" && d.Text == "" {
			t.Errorf("%+v", d)
		}
	}
}

func TestSizeHint(t *testing.T) {
	for text, want := range map[string]string{
		"256k": "write 262144 (256 × 1024) or 256000 (256 × 1000)", "256K": "write 262144 (256 × 1024) or 256000 (256 × 1000)", "64 KiB": "write 65536 (64 × 1024)",
		"1Mi": "write 1048576 (1 × 1024 × 1024)", "1M": "write 1048576 (1 × 1024 × 1024) or 1000000 (1 × 1000 × 1000)", "1GB": "write 1073741824 (1 × 1024 × 1024 × 1024) or 1000000000 (1 × 1000 × 1000 × 1000)",
		"5h": "", "k": "", "1.5k": "", "-1k": "", "9999999999k": "",
	} {
		if got := sizeHint(text); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
	for text, want := range map[string]string{"262_144": "write 262144", "262,144": "write 262144", "1 000 000": "write 1000000", "1,00": "", "1000": "", "1_0": ""} {
		if got := plainDigits(text); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}
