package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/view"
)

// The change that somebody makes by hand.
const (
	driftFile  = "nf_conntrack_tcp_timeout_established"
	driftValue = "86400"
)

// tell walks through what nfsync does, by running it. Every command is the
// real one, and the demo fails where one does not end as it should.
func (a *app) tell(ctx context.Context) error {
	d := &demo{app: a, ctx: ctx}
	d.say("nfsync at work on the kernel of this machine. Everything below happens in",
		"namespaces that only this demo has: a node with the containers",
		strings.Join(demoContainers, ", ")+", and nothing else.")

	d.step("The policies say what is wanted. Are they valid?")
	d.run([]int{exitOK}, "validate", demoPolicies)

	d.step("They are committed to a git repository, which the node follows.")
	d.create()
	d.commit("The edge nodes and their containers")

	d.step("What would change here? A plan only looks.")
	d.run([]int{exitOK, exitRefused}, follow("plan")...)

	d.step("Make the changes. Each is read back; what is refused is left as it is.")
	d.run([]int{exitOK, exitRefused}, follow("agent", "--once")...)

	if conntrackHere() {
		d.drift()
		d.mistake()
		d.refusals()
	} else {
		d.say("The kernel has not loaded nf_conntrack, and the demo does not load it, as that",
			"would change this machine. After 'modprobe -a nf_conntrack nft_ct' the demo",
			"shows more.")
	}

	d.step("Every refusal has a code, and every code an explanation.")
	d.run([]int{exitOK}, "explain", string(nf.LevelInUse))

	d.say("That was it. The namespaces vanish with this process; nothing of this machine",
		"was changed.")
	return finish(exitOK, d.err)
}

// drift is a value that somebody changes behind nfsync's back.
func (d *demo) drift() {
	d.step("Somebody changes a timeout in web-1 by hand ...")
	d.byHand("web-1", "sysctl -w net.netfilter."+driftFile+"="+driftValue, func() error {
		return os.WriteFile("/proc/sys/net/netfilter/"+driftFile, []byte(driftValue), 0)
	})
	d.step("... which the next plan sees as drift ...")
	d.run([]int{exitOK, exitRefused}, follow("plan")...)
	d.step("... and the agent's next lap heals.")
	d.run([]int{exitOK, exitRefused}, follow("agent", "--once")...)
}

// mistakenPolicy misspells a level.
const mistakenPolicy = `apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: db}
spec:
  containers: {names: ["db-*"]}
  level: statefull
`

// mistake is a commit that nobody has validated.
func (d *demo) mistake() {
	d.step("Somebody commits a mistake. The last good revision stays in force.")
	d.file(filepath.Join(demoPolicies, "db.yaml"), mistakenPolicy)
	d.commit("The databases, in a hurry")
	d.run([]int{exitInvalid}, follow("agent", "--once")...)
}

// limitPolicy wants what a kernel without limits of a container's own cannot do.
const limitPolicy = `apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: db}
spec:
  priority: 10
  containers: {names: ["db-*"]}
  conntrack: {max: 5000}
`

// refusals are a container that uses more than its policy allows, and a policy
// that wants more than the kernel can do.
func (d *demo) refusals() {
	d.step("The policy of db-1 says stateless. Its own firewall begins to track ...")
	d.byHand("db-1", "nft add rule inet demo input ct state established,related accept", addTrackingRule)
	d.step("... and its new policy, the mistake mended, wants a limit for it.")
	d.file(filepath.Join(demoPolicies, "db.yaml"), limitPolicy)
	d.commit("The databases have a limit")
	d.step("Neither can be had: both are refused, each with the reason and a way out.")
	d.run([]int{exitRefused}, follow("agent", "--once")...)
}

// conntrackHere tells whether the kernel has what the middle of the demo needs.
// A module that is not there yet is not loaded for its sake.
func conntrackHere() bool {
	_, err := os.Stat("/proc/sys/net/netfilter/" + driftFile)
	return err == nil
}

// demo tells the story; after the first step that goes wrong it is silent.
type demo struct {
	app  *app
	ctx  context.Context
	repo *source.Repository
	err  error
}

func (d *demo) say(lines ...string) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.app.stdout, "\n%s\n", strings.Join(lines, "\n"))
	}
}

func (d *demo) step(text string) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.app.stdout, "\n%s\n", d.bold("# "+text))
	}
}

func (d *demo) bold(s string) string {
	if d.app.viewOptions(d.app.stdout).Color {
		return "\x1b[1m" + s + "\x1b[0m"
	}
	return s
}

// byHand does in a container what the command line would do that is shown.
func (d *demo) byHand(container, shown string, do func() error) {
	if d.err != nil {
		return
	}
	fmt.Fprintf(d.app.stdout, "\n%s# %s\n", container, shown)
	if err := inContainer(container, do); err != nil {
		d.err = fmt.Errorf("cannot do that in %s: %w", container, err)
	}
}

// file writes a file and shows it.
func (d *demo) file(path, content string) {
	if d.err == nil {
		fmt.Fprintf(d.app.stdout, "\n$ cat %s\n%s", path, content)
		d.err = os.WriteFile(path, []byte(content), 0o644)
	}
}

// run runs nfsync, and fails unless it ends with one of the codes.
func (d *demo) run(codes []int, words ...string) {
	if d.err != nil {
		return
	}
	fmt.Fprintf(d.app.stdout, "\n$ %s\n", view.CommandLine(append([]string{"nfsync"}, words...)...))
	cmd := itself(d.ctx, slices.Concat(words, []string{
		"--node", "edge-1", "--label", "role=edge", "--node-netns", demoNode, "--state-dir", demoState,
		"--run-dir", defaultRunDir, "--netns-dir", defaultNetnsDir,
	})...)
	cmd.Env = append(os.Environ(), demoVariable+"=1")
	// What it says on stderr is a part of the story, and has its place there.
	cmd.Stdout, cmd.Stderr = d.app.stdout, d.app.stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := runBound(cmd)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.err = err
		return
	}
	if code := cmd.ProcessState.ExitCode(); !slices.Contains(codes, code) {
		d.err = fmt.Errorf("'nfsync %s' ended with %d: the demo goes no further", strings.Join(words, " "), code)
	}
}
