//go:build runtimes

package runtimes_test

import (
	"fmt"
	"strings"
	"testing"
)

// hookedPods is a node whose pods have the hook.
type hookedPods struct {
	containerd
	pods int // that were tried
}

// next returns a pod that was not tried yet.
func (c *hookedPods) next() podConfig {
	c.pods++
	return podConfig{namespace: "default", name: fmt.Sprintf("web-%d", c.pods), uid: fmt.Sprintf("5f0a7a3e-1111-4c1c-9d5e-%012d", c.pods)}
}

// try tries to start a pod and to end it, and returns the error of the start.
func (c *hookedPods) try() error {
	c.t.Helper()
	answer, err := c.cri.call("RunPodSandbox", field(1, c.next().encode()))
	if err == nil {
		c.cri.stopPod(firstText(answer))
	}
	return err
}

// expectFirst starts a pod, compares what the first act of the program of its container finds, and ends it.
func (c *hookedPods) expectFirst(want string) {
	c.t.Helper()
	pod := c.next()
	sandbox := c.cri.runPod(pod)
	id := c.cri.runProgram(sandbox, pod, "app", 0, "/bin/sh", "-c", copySeen+"; exec sleep 1000000")
	if got := c.seen("/run/containerd/io.containerd.runtime.v2.task/k8s.io/" + id + "/rootfs"); got != want {
		c.t.Errorf("%s: the first instruction finds %s, want %s", pod.name, got, want)
	}
	c.expectNoneLate("container cri/" + pod.uid)
	c.cri.stopPod(sandbox)
	if left := c.script("cd /var/lib/cni/networks/pods; ls -d 10.* 2>/dev/null || true"); left != "" {
		c.t.Errorf("%s has ended, and its network has the address %s", pod.name, left)
	}
}

// TestPodHook: the programs of a pod find its values, and a pod does not start without them. nfsync is the
// last plugin of the network, as docs/hooks.md says.
func TestPodHook(t *testing.T) {
	c := hookedPods{containerd: newContainerd(t)}
	c.fetchOnce("timeouts: {udp: 43}")
	// Without an agent the plugin has to be told the node's namespace: it is not the initial one.
	c.Write("/opt/cni/bin/nfsync", "#!/bin/sh\nexec /usr/bin/nfsync cni "+hookArgs+"\n", 0o755)
	c.Write(podNetworkFile, podNetwork(`{"type": "nfsync", "timeout": "5s"}`), 0o644)
	c.Must("systemctl", "restart", "containerd") // it would see the file some time later
	c.expectFirst("43")

	c.serve()
	c.script("ln -sf /usr/bin/nfsync /opt/cni/bin/nfsync")
	c.expectFirst("42")

	c.policy("max: 2000000000")
	var err error
	c.eventually("a refusal keeps a pod from starting", func() bool {
		err = c.try()
		return err != nil
	})
	for _, want := range []string{"(default/web-", "does not have its values: conntrack.max: refused", `remove nfsync from the plugins of the network pods, or add "bestEffort": true`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("RunPodSandbox says %v\nwant %s", err, want)
		}
	}
	c.Write(podNetworkFile, podNetwork(`{"type": "nfsync", "timeout": "5s", "bestEffort": true}`), 0o644)
	c.eventually("the pod starts all the same", func() bool { return c.try() == nil })
}
