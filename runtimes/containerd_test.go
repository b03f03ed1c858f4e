//go:build runtimes

package runtimes_test

import (
	"strings"
	"testing"
)

// criImage is the name of the image for containerd.
const criImage = "docker.io/library/" + image + ":latest"

// containerd is a node on which containerd runs pods, as a kubelet tells it.
type containerd struct {
	*node
	cri *criClient
}

// containerdConfig has no more than a node needs where not all controllers of cgroups are and nobody
// may lower the score that the kernel kills by when memory runs out.
const containerdConfig = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + criImage + `"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "/usr/local/sbin/runc-without-limits"
        SystemdCgroup = true
`

// runcWithoutLimits is runc without what a container asks of the controllers of cgroups.
const runcWithoutLimits = `#!/bin/sh
for word in "$@"; do
	if [ "$previous" = --bundle ]; then
		jq -c 'del(.linux.resources)' "$word/config.json" >"$word/config.json.new"
		mv "$word/config.json.new" "$word/config.json"
	fi
	previous=$word
done
exec /usr/sbin/runc "$@"
`

// podNetwork returns a network of pods, a bridge, with the plugins that come after it.
func podNetwork(chained ...string) string {
	bridge := `{"type":"bridge","bridge":"cni0","isGateway":true,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.99.0.0/24"}]]}}`
	return `{"cniVersion":"0.4.0","name":"pods","plugins":[` + strings.Join(append([]string{bridge}, chained...), ",") + "]}\n"
}

// podNetworkFile is where containerd finds the network of pods.
const podNetworkFile = "/etc/cni/net.d/10-pods.conflist"

// loadImage makes an image of imageFile, as docker save writes one, and loads it. Its program is that of
// sandboxes.
const loadImage = `mkdir /srv/image
cd /srv/image
cp "$1" layer.tar
digest=$(sha256sum layer.tar | cut -d ' ' -f 1)
echo '{"architecture":"amd64","os":"linux","config":{"Cmd":["/bin/sleep","1000000"],"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:'$digest'"]}}' >config.json
echo '[{"Config":"config.json","RepoTags":["'"$2"'"],"Layers":["layer.tar"]}]' >manifest.json
tar -cf /srv/archive.tar manifest.json config.json layer.tar
ctr -n k8s.io images import --snapshotter native /srv/archive.tar`

// newContainerd starts containerd and loads the image.
func newContainerd(t testing.TB) containerd {
	t.Helper()
	c := containerd{node: newNode(t)}
	c.Write("/etc/containerd/config.toml", containerdConfig, 0o644)
	c.Write("/usr/local/sbin/runc-without-limits", runcWithoutLimits, 0o755)
	c.Write(podNetworkFile, podNetwork(), 0o644)
	c.script("mkdir -p /opt/cni/bin; ln -s /usr/lib/cni/* /opt/cni/bin")
	c.Must("systemctl", "start", "containerd")
	c.Must("sh", "-euc", loadImage, "sh", imageFile, criImage)
	c.cri = newCRIClient(t, c.Path("/run/containerd/containerd.sock"))
	return c
}

// pid returns the first process of a sandbox or of a container of a pod.
func (c containerd) pid(id string) string {
	c.t.Helper()
	return strings.TrimSpace(c.Read("/run/containerd/io.containerd.runtime.v2.task/k8s.io/" + id + "/init.pid"))
}

// podConfig is what a kubelet says of a pod (PodSandboxConfig).
type podConfig struct {
	namespace, name, uid string
	labels               map[string]string
	hostNetwork          bool
	attempt              uint64 // how often the sandbox was made anew
}

// encode returns the message of a pod.
func (p podConfig) encode() []byte {
	metadata := join(text(1, p.name), text(2, p.uid), text(3, p.namespace), number(4, p.attempt))
	var network uint64 // NamespaceMode: POD
	if p.hostNetwork {
		network = 2 // NODE
	}
	security := field(2, field(1, number(1, network)))
	message := field(1, metadata)
	if !p.hostNetwork {
		message = append(message, text(2, p.name)...) // the host name
	}
	for key, value := range p.labels {
		message = append(message, field(6, join(text(1, key), text(2, value)))...)
	}
	const slices = "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod"
	parent := slices + strings.ReplaceAll(p.uid, "-", "_") + ".slice" // named as a kubelet does
	return append(message, field(8, join(text(1, parent), security))...)
}

// runPod starts a pod and returns the id of its sandbox.
func (c *criClient) runPod(p podConfig) string {
	c.t.Helper()
	return firstText(c.must("RunPodSandbox", field(1, p.encode())))
}

// runContainer starts a container of a pod and returns its id.
func (c *criClient) runContainer(sandbox string, p podConfig, name string, attempt uint64) string {
	c.t.Helper()
	return c.runProgram(sandbox, p, name, attempt, forever[0], forever[1:]...)
}

// runProgram is runContainer for a container with another program.
func (c *criClient) runProgram(sandbox string, p podConfig, name string, attempt uint64, program string, args ...string) string {
	c.t.Helper()
	config := join(field(1, join(text(1, name), number(2, attempt))), field(2, text(1, criImage)), text(3, program))
	for _, arg := range args {
		config = append(config, text(4, arg)...)
	}
	id := firstText(c.must("CreateContainer", join(text(1, sandbox), field(2, config), field(3, p.encode()))))
	c.must("StartContainer", text(1, id))
	return id
}

// stopContainer kills a container of a pod and removes it.
func (c *criClient) stopContainer(id string) {
	c.t.Helper()
	c.must("StopContainer", text(1, id))
	c.must("RemoveContainer", text(1, id))
}

// stopPod ends a pod and removes it.
func (c *criClient) stopPod(sandbox string) {
	c.t.Helper()
	c.must("StopPodSandbox", text(1, sandbox))
	c.must("RemovePodSandbox", text(1, sandbox))
}

// TestPodsRun: the containers of a pod are in the network namespace of its sandbox.
func TestPodsRun(t *testing.T) {
	c := newContainerd(t)
	web := podConfig{namespace: "default", name: "web-0", uid: "5f0a7a3e-1111-4c1c-9d5e-000000000001", labels: map[string]string{"app": "web"}}
	proxy := podConfig{namespace: "kube-system", name: "proxy", uid: "5f0a7a3e-1111-4c1c-9d5e-000000000002", hostNetwork: true}
	sandbox := c.cri.runPod(web)
	app := c.cri.runContainer(sandbox, web, "app", 0)
	hosty := c.cri.runPod(proxy)
	c.expectNamespaces([]string{"1", c.pid(hosty)}, []string{c.pid(sandbox), c.pid(app)})
	c.cri.stopContainer(app)
	app = c.cri.runContainer(sandbox, web, "app", 1)
	c.expectNamespaces([]string{c.pid(sandbox), c.pid(app)})
	c.cri.stopPod(sandbox)
	if pid := c.pid(sandbox); pid != "" {
		t.Errorf("the sandbox has the process %s after its end", pid)
	}
}
