package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
)

// The exit codes of nfsync that the story expects.
const (
	ok      = 0
	refused = 3
	invalid = 4
)

// The change that somebody makes by hand.
const (
	driftFile  = "nf_conntrack_tcp_timeout_established"
	driftValue = "86400"
)

// Inside is the demo, in a process that is in its namespaces already. Every
// command that it shows is run, and it fails where one does not end as it should.
func (d Demo) Inside(ctx context.Context) error {
	if err := privateMounts(); err != nil {
		return err
	}
	if err := harmless(); err != nil {
		return err
	}
	if err := prepare(); err != nil {
		return fmt.Errorf("cannot prepare the demo: %w", err)
	}
	s := &story{Demo: d, ctx: ctx}
	s.perform()
	return s.err
}

func (s *story) perform() {
	s.say("nfsync at work on the kernel of this machine. Everything below happens in",
		"namespaces that only this demo has: a node with the containers",
		strings.Join(containers, ", ")+", and nothing else.")

	s.heading("The policies say what is wanted. Are they valid?")
	s.run("validate "+policyDir, ok)

	s.heading("They are committed to a git repository, which the node follows.")
	s.commit("The edge nodes and their containers")

	s.heading("What would change here? A plan changes nothing.")
	s.run("plan --git "+repository, ok, refused)

	s.heading("Make the changes. Each is read back; what is refused is left as it is.")
	s.run(lap, ok, refused)

	if hasConntrack() {
		s.drift()
		s.mistake()
		s.refusals()
		s.loop()
	} else {
		s.say("The kernel has not loaded nf_conntrack, and the demo does not load it, as that",
			"would change this machine. After 'modprobe -a nf_conntrack nft_ct' the demo",
			"shows more.")
	}

	s.heading("Every refusal has a code, and every code an explanation.")
	s.run("explain "+string(nf.LevelInUse), ok)

	s.say("That was it. The namespaces vanish with this process; nothing of this machine",
		"was changed.")
}

// lap is one lap of the agent.
const lap = "agent --once --git " + repository

// drift is a value that somebody changes by hand.
func (s *story) drift() {
	s.heading("Somebody changes a timeout in web-1 by hand ...")
	s.byHand("web-1", "sysctl -w net.netfilter."+driftFile+"="+driftValue, func() error {
		return os.WriteFile("/proc/sys/net/netfilter/"+driftFile, []byte(driftValue), 0)
	})
	s.heading("... which the next plan sees as drift ...")
	s.run("plan --git "+repository, ok, refused)
	s.heading("... and the agent's next lap heals.")
	s.run(lap, ok, refused)
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
func (s *story) mistake() {
	s.heading("Somebody commits a mistake. The last good revision stays in force.")
	s.write(policyDir+"/db.yaml", mistakenPolicy)
	s.commit("The databases, in a hurry")
	s.run(lap, invalid)
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
func (s *story) refusals() {
	s.heading("The policy of db-1 says stateless. Its own firewall begins to track ...")
	s.byHand("db-1", "nft add rule inet demo input ct state established,related accept", addTrackingRule)
	s.heading("... and its new policy, the mistake mended, wants a limit for it.")
	s.write(policyDir+"/db.yaml", limitPolicy)
	s.commit("The databases have a limit")
	s.heading("Neither can be had: both are refused, each with the reason and a remedy.")
	s.run(lap, refused)
}

// hasConntrack reports whether the kernel has what the middle of the story
// needs.
func hasConntrack() bool {
	_, err := os.Stat("/proc/sys/net/netfilter/" + driftFile)
	return err == nil
}

// story is the demo as it goes on; after the first step that fails it is silent.
type story struct {
	Demo
	ctx  context.Context
	repo *source.Repository
	err  error
}

// step makes one step, unless one has failed.
func (s *story) step(do func() error) {
	if s.err == nil {
		s.err = do()
	}
}

func (s *story) printf(format string, args ...any) {
	s.step(func() error {
		_, err := fmt.Fprintf(s.Stdout, format, args...)
		return err
	})
}

func (s *story) say(lines ...string) { s.printf("\n%s\n", strings.Join(lines, "\n")) }

func (s *story) heading(text string) {
	text = "# " + text
	if s.Bold {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	s.say(text)
}

// byHand does in a container what the shown command line would do.
func (s *story) byHand(container, shown string, do func() error) {
	s.say(container + "# " + shown)
	s.step(func() error {
		if err := netns.Enter(filepath.Join(netns.DefaultDir, container), do); err != nil {
			return fmt.Errorf("cannot do that in %s: %w", container, err)
		}
		return nil
	})
}

// write writes a file and shows it.
func (s *story) write(path, content string) {
	s.printf("\n$ cat %s\n%s", path, content)
	s.step(func() error { return os.WriteFile(path, []byte(content), 0o644) })
}

// commit commits the policies and says so, as git log --oneline would. The first
// one makes the repository.
func (s *story) commit(message string) {
	s.step(func() (err error) {
		if s.repo == nil {
			if s.repo, err = source.CreateRepository(repository, branch); err != nil {
				return err
			}
		}
		files := map[string][]byte{}
		err = fs.WalkDir(os.DirFS(policyDir), ".", func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			files[name], err = os.ReadFile(filepath.Join(policyDir, name))
			return err
		})
		if err != nil {
			return err
		}
		hash, err := s.repo.Commit(files, message+"\n", "nfsync demo", "demo@nfsync.invalid", time.Now())
		if err == nil {
			_, err = fmt.Fprintf(s.Stdout, "\n%s: %.7s (%s) %s\n", repository, hash, branch, message)
		}
		return err
	})
}

// command is nfsync on the demo's node.
func (s *story) command(line string) *exec.Cmd {
	cmd := itself(s.ctx, append(strings.Fields(line), "--node", "edge-1", "--label", "role=edge", "--node-netns", nodeNetns,
		"--state-dir", stateDir, "--run-dir", runDir, "--netns-dir", netns.DefaultDir)...)
	cmd.Env = append(os.Environ(), Variable+"=1")
	cmd.Stdout, cmd.Stderr = s.Stdout, s.Stdout
	return cmd
}

// run runs nfsync, and fails unless it ends with one of the codes. What it says
// on stderr has its place in the story.
func (s *story) run(line string, codes ...int) {
	s.say("$ nfsync " + line)
	s.step(func() error {
		cmd := s.command(line)
		var exit *exec.ExitError
		if err := runLocked(cmd); err != nil && !errors.As(err, &exit) {
			return err
		}
		if code := cmd.ProcessState.ExitCode(); !slices.Contains(codes, code) {
			return fmt.Errorf("'nfsync %s' ended with %d: the demo goes no further", line, code)
		}
		return nil
	})
}
