package demo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/netns"
)

// agentConfig makes the agent look for drift each second, to be seen at once.
const agentConfig = `apiVersion: nfsync.dev/v1alpha1
kind: AgentConfig
source: {urls: [` + workDir + "/" + repository + `]}
drift: {interval: 1s}
listen: none
`

// webPolicy changes a timeout of the web servers.
const webPolicy = `apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: web-short}
spec:
  priority: 20
  containers: {names: ["web-*"]}
  conntrack:
    timeouts: {tcpEstablished: 1h}
`

// loop shows the agent that runs all the time.
func (s *story) loop() {
	kept := s.read("web-1")
	s.heading("From now on the agent does all that by itself.")
	s.write("agent.yaml", agentConfig)
	stop := s.start("agent --config agent.yaml")
	defer stop()
	s.await("status", func() bool { return s.silently("status") == nil })

	s.heading("Somebody changes the timeout again. The agent changes it back.")
	s.byHand("web-1", "sysctl -w net.netfilter."+driftFile+"="+driftValue, func() error {
		return os.WriteFile("/proc/sys/net/netfilter/"+driftFile, []byte(driftValue), 0)
	})
	s.awaitValue("web-1", kept)

	s.heading("A container is born, and has its values.")
	s.say("# ip netns add web-3")
	s.step(func() error { return netns.Create(filepath.Join(netns.DefaultDir, "web-3")) })
	s.awaitValue("web-3", kept)

	s.heading("A commit is in force as soon as the agent knows of it.")
	s.write(policyDir+"/web.yaml", webPolicy)
	s.commit("The web servers forget idle connections sooner")
	s.run("sync", ok)
	s.awaitValue("web-1", "3600")

	s.heading("Somebody works on the containers. The agent looks on, and changes nothing.")
	s.run("suspend --for 1h --reason maintenance", ok)
	s.await("suspend", func() bool {
		text, _ := os.ReadFile(filepath.Join(runDir, "status.json"))
		return strings.Contains(string(text), `"reason": "maintenance"`)
	})
	s.run("status", ok)
	s.run("resume", ok)
}

// start runs nfsync in the background until stop is called.
func (s *story) start(line string) (stop func()) {
	s.say("$ nfsync " + line + " &")
	ended := make(chan error, 1)
	var cmd *exec.Cmd
	s.step(func() error {
		cmd = s.command(line)
		started := make(chan error)
		go func() {
			runtime.LockOSThread() // the command ends with the thread that starts it
			err := cmd.Start()
			started <- err
			if err == nil {
				ended <- cmd.Wait()
			}
		}()
		return <-started
	})
	return func() {
		if s.err != nil {
			return // it ends with this process
		}
		s.step(func() error { return cmd.Process.Signal(os.Interrupt) })
		s.step(func() error { return <-ended })
	}
}

// silently runs nfsync without showing it.
func (s *story) silently(line string) error {
	cmd := s.command(line)
	cmd.Stdout, cmd.Stderr = nil, nil
	return runLocked(cmd)
}

// longest is how long the agent may take on a busy machine.
const longest = 20 * time.Second

// await waits until something is so.
func (s *story) await(what string, done func() bool) (took time.Duration) {
	began := time.Now()
	s.step(func() error {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for !done() {
			select {
			case <-s.ctx.Done():
				return errors.New("interrupted")
			case <-tick.C:
			}
			if time.Since(began) > longest {
				return fmt.Errorf("%s: nothing has come of it in %s", what, longest)
			}
		}
		return nil
	})
	return time.Since(began)
}

// awaitValue waits until the timeout of a container has a value, and says how long that took.
func (s *story) awaitValue(container, value string) {
	took := s.await(container, func() bool { return s.read(container) == value })
	s.say(fmt.Sprintf("%s: net.netfilter.%s = %s, after %d ms", container, driftFile, value, took.Milliseconds()))
}

// read returns the timeout of a container; "" if it cannot be read.
func (s *story) read(container string) (value string) {
	_ = netns.Enter(filepath.Join(netns.DefaultDir, container), func() error {
		text, err := os.ReadFile("/proc/sys/net/netfilter/" + driftFile)
		value = strings.TrimSpace(string(text))
		return err
	})
	return value
}
