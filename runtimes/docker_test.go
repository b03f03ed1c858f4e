//go:build runtimes

package runtimes_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docker is a node on which dockerd runs.
type docker struct {
	*node
}

// settings are what daemon.json has.
type settings map[string]any

// newDocker starts dockerd with settings, and loads the image. Its unit does not
// start it again when it is killed.
func newDocker(t testing.TB, s settings) docker {
	t.Helper()
	d := docker{newNode(t)}
	d.configure(s)
	for _, unit := range []string{"docker", "containerd"} {
		d.Write("/etc/systemd/system/"+unit+".service.d/restart.conf", "[Service]\nRestart=no\n", 0o644)
	}
	d.Must("systemctl", "daemon-reload")
	d.start()
	d.docker("import", imageFile, image)
	return d
}

// configure writes daemon.json. The storage driver is vfs: others do not work on every machine.
func (d docker) configure(s settings) {
	d.t.Helper()
	all := settings{"storage-driver": "vfs"}
	maps.Copy(all, s)
	text, err := json.Marshal(all)
	if err != nil {
		d.t.Fatal(err)
	}
	d.Write("/etc/docker/daemon.json", string(text), 0o644)
}

// start starts dockerd.
func (d docker) start() {
	d.t.Helper()
	if out, err := d.Run("systemctl", "start", "docker"); err != nil {
		d.t.Fatalf("%v: %s%s", err, out, d.Must("journalctl", "--no-pager", "-q", "-o", "cat", "-u", "docker", "-n", "20"))
	}
}

// docker runs the client and returns the line that it prints. This machine may have another one in
// /usr/local.
func (d docker) docker(args ...string) string {
	d.t.Helper()
	return d.line("/usr/bin/docker", args...)
}

// run starts a container with the flags, and returns its id.
func (d docker) run(flags ...string) string {
	d.t.Helper()
	return d.docker(append(append(append([]string{"run", "-d"}, flags...), image), forever...)...)
}

// pid returns the first process of a container.
func (d docker) pid(name string) string {
	d.t.Helper()
	return d.docker("inspect", "-f", "{{.State.Pid}}", name)
}

// crash kills dockerd, then containerd with the programs that watch the containers, and the containers
// at last: nobody is left to see that they end, and their state stays behind.
func (d docker) crash(names ...string) {
	d.t.Helper()
	var processes []string
	for _, name := range names {
		processes = append(processes, d.pid(name))
	}
	for _, unit := range []string{"docker", "containerd"} {
		d.Must("systemctl", "kill", "-s", "KILL", unit)
		d.eventually("the end of "+unit, func() bool { return !d.active(unit) })
	}
	d.Must("kill", append([]string{"-KILL"}, processes...)...)
}

// TestDockerLife follows containers from their start to their end, with both drivers of cgroups.
func TestDockerLife(t *testing.T) {
	for _, driver := range []string{"systemd", "cgroupfs"} {
		t.Run(driver, func(t *testing.T) {
			d := newDocker(t, settings{"exec-opts": []string{"native.cgroupdriver=" + driver}})
			d.expect("before the first container")
			id := d.run("--name", "web", "--label", "app=web", "--label", "tier=front")
			d.run("--name", "dark", "--network", "none")
			started := d.expect("started", "docker web running app=web tier=front", "docker dark running")
			if got := started["web"].ID; got != id {
				t.Errorf("the id is %s, want %s", got, id)
			}

			d.docker("restart", "-t", "0", "web")
			restarted := d.expect("restarted", "docker web running app=web tier=front", "docker dark running")
			d.expectAnother("restarted", started["web"], restarted["web"])
			d.expectSame("not restarted", started["dark"], restarted["dark"])

			d.docker("pause", "web")
			paused := d.expect("paused", "docker web paused app=web tier=front", "docker dark running")
			d.expectSame("paused", restarted["web"], paused["web"])
			d.docker("unpause", "web")

			d.docker("rename", "web", "my_shop-1.x")
			renamed := d.expect("renamed", "docker my_shop-1.x running app=web tier=front", "docker dark running")
			d.expectSame("renamed", restarted["web"], renamed["my_shop-1.x"])

			d.docker("rm", "-f", "my_shop-1.x")
			d.docker("stop", "-t", "0", "dark")
			d.expect("removed and stopped")
		})
	}
}

// TestDockerExits: a container whose first process is killed has ended, one that is started again is
// another instance, and one of --rm leaves nothing.
func TestDockerExits(t *testing.T) {
	d := newDocker(t, nil)
	d.run("--name", "once")
	d.run("--name", "again", "--restart", "always")
	d.run("--name", "short", "--rm")
	before := d.expect("started", "docker once running", "docker again running", "docker short running")
	old := d.pid("again")
	d.Must("kill", "-KILL", d.pid("once"), old, d.pid("short"))
	d.eventually("dockerd sees the ends", func() bool {
		return d.docker("inspect", "-f", "{{.State.Running}}", "once") == "false" && d.pid("again") != old && d.pid("again") != "0" && d.docker("ps", "-aqf", "name=short") == ""
	})
	after := d.expect("killed", "docker again running")
	d.expectAnother("killed", before["again"], after["again"])
}

// TestDockerJoined: a container that has joined the namespace of another is a name of it, and a
// container of its own once the other was restarted: it stays in the old namespace.
func TestDockerJoined(t *testing.T) {
	d := newDocker(t, nil)
	web := d.run("--name", "web")
	side := d.run("--name", "side", "--network", "container:web")
	before := d.expect("joined", "docker web running alias:side")
	if before["web"].ID != web {
		t.Errorf("the id is that of %s, want %s", before["web"].ID, web)
	}
	d.docker("restart", "-t", "0", "web")
	after := d.expect("the owner restarted", "docker web running", "docker side running")
	d.expectAnother("the owner restarted", before["web"], after["web"])
	if after["side"].ID != side || after["side"].Instance != before["web"].Instance {
		t.Errorf("side is %s with the instance %s, want %s with that of web before, %s", after["side"].ID, after["side"].Instance, side, before["web"].Instance)
	}
	d.docker("restart", "-t", "0", "side")
	again := d.expect("joined again", "docker web running alias:side")
	d.expectSame("joined again", after["web"], again["web"])
}

// TestDockerHostNetwork: what is in the node's network namespace is no container of nfsync's, and one
// warning says so.
func TestDockerHostNetwork(t *testing.T) {
	d := newDocker(t, nil)
	d.run("--name", "web")
	d.expectWarning("none", "node-namespace", "")
	d.run("--name", "hosty", "--network", "host")
	d.run("--name", "hosty2", "--network", "host")
	d.run("--name", "hosty3", "--network", "container:hosty")
	d.expect("with the node's network", "docker web running")
	d.expectWarning("with the node's network", "node-namespace", "hosty, hosty2, hosty3")
}

// TestDockerCrash: state that stayed behind is not believed, and nothing is started by looking.
func TestDockerCrash(t *testing.T) {
	d := newDocker(t, nil)
	id := d.run("--name", "web")
	d.expect("started", "docker web running")
	d.crash("web")
	if _, err := os.Stat(d.Path("/run/docker/runtime-runc/moby/" + id + "/state.json")); err != nil {
		t.Fatalf("no state has stayed behind: %v", err)
	}
	if text := d.Read("/var/lib/docker/containers/" + id + "/config.v2.json"); !strings.Contains(text, `"Running":true`) {
		t.Fatalf("dockerd has noticed the end: %s", text)
	}
	d.expect("crashed")
	if !d.active("docker.socket") || d.active("docker") {
		t.Error("systemd does not wait for the first one who asks dockerd, or nfsync has asked")
	}
	d.start()
	d.docker("start", "web")
	d.expect("started again", "docker web running")
}

// TestDockerDaemon: containers that outlive dockerd are listed without it, as the same instances, and
// with live-restore afterwards too.
func TestDockerDaemon(t *testing.T) {
	d := newDocker(t, settings{"live-restore": true})
	d.run("--name", "web", "--label", "app=web")
	before := d.expect("started", "docker web running app=web")
	d.Must("systemctl", "kill", "--kill-whom=main", "-s", "KILL", "docker")
	d.eventually("dockerd ends", func() bool { return !d.active("docker") })
	killed := d.expect("dockerd was killed", "docker web running app=web")
	d.expectSame("dockerd was killed", before["web"], killed["web"])
	d.start()
	restored := d.expect("dockerd runs again", "docker web running app=web")
	d.expectSame("dockerd runs again", before["web"], restored["web"])

	d.Must("systemctl", "stop", "docker.socket", "docker")
	stopped := d.expect("dockerd was stopped", "docker web running app=web")
	d.expectSame("dockerd was stopped", before["web"], stopped["web"])
	d.configure(nil)
	d.start() // without live-restore it ends the containers
	d.expect("without live-restore")
}

// TestDockerDataRoot finds names where dockerd keeps them, be it said in daemon.json or by a flag.
func TestDockerDataRoot(t *testing.T) {
	d := newDocker(t, settings{"data-root": "/srv/data/docker"})
	d.run("--name", "web", "--label", "app=web")
	d.expect("in daemon.json", "docker web running app=web")
	d.docker("rm", "-f", "web")

	d.Must("systemctl", "stop", "docker.socket", "docker")
	d.configure(nil)
	d.Write("/etc/systemd/system/docker.service.d/root.conf", "[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd --data-root /srv/flag -H fd:// --containerd=/run/containerd/containerd.sock\n", 0o644)
	d.Must("systemctl", "daemon-reload")
	d.start()
	d.docker("import", imageFile, image)
	d.run("--name", "shop", "--label", "app=shop")
	d.expect("by a flag", "docker shop running app=shop")
	d.Must("rm", "-r", "/srv/flag/containers")
	if got := d.snapshot().Containers; len(got) != 1 || got[0].Unobservable == "" || len(got[0].Name) != 12 {
		t.Errorf("without dockerd's files the containers are %s, want one that is unobservable under its short id", got)
	}
}

// TestDockerUserNamespaces: with userns-remap the names and labels are found all the same.
func TestDockerUserNamespaces(t *testing.T) {
	d := newDocker(t, settings{"userns-remap": "default"})
	d.run("--name", "web", "--label", "app=web")
	d.expect("remapped", "docker web running app=web")
}

// TestDockerApply sets values in containers that policies select by name, by id and by label.
func TestDockerApply(t *testing.T) {
	d := newDocker(t, nil)
	d.run("--name", "web")
	shop := d.run("--name", "shop", "--network", "none")
	d.run("--name", "db", "--label", "app=db")
	d.run("--name", "other")
	untouched := d.udpTimeoutOf(d.pid("other"))
	d.Write("/srv/policies/web.yaml", policy("web", "{names: [web]}", 41), 0o644)
	d.Write("/srv/policies/shop.yaml", policy("shop", "{ids: ["+shop+"], runtimes: [docker]}", 42), 0o644)
	d.Write("/srv/policies/db.yaml", policy("db", "{labels: {app: db}}", 43), 0o644)
	d.nfsync("apply", "/srv/policies", "--yes")
	for name, want := range map[string]string{"web": "41", "shop": "42", "db": "43", "other": untouched} {
		if got := d.docker("exec", name, "cat", udpTimeout); got != want {
			t.Errorf("the timeout in %s is %s, want %s", name, got, want)
		}
	}
	d.docker("restart", "-t", "0", "web")
	if got := d.udpTimeoutOf(d.pid("web")); got != untouched {
		t.Fatalf("a new namespace has the timeout %s, want %s", got, untouched)
	}
	d.nfsync("apply", "/srv/policies", "--yes")
	if got := d.udpTimeoutOf(d.pid("web")); got != "41" {
		t.Errorf("after a restart the timeout in web is %s, want 41", got)
	}
}

// TestDockerSwarm: the containers of services are listed, and the namespaces that swarm makes for its
// networks, in which no process is, are not.
func TestDockerSwarm(t *testing.T) {
	d := newDocker(t, nil)
	d.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
	d.docker("network", "create", "-d", "overlay", "--attachable", "mesh")
	d.run("--name", "web", "--network", "mesh")
	const service = "com.docker.swarm.service.name"
	d.docker(append([]string{"service", "create", "-d", "--no-resolve-image", "--name", "shop", "--network", "mesh", image}, forever...)...)
	task := ""
	d.eventually("a task of the service", func() bool {
		task = d.docker("ps", "--format", "{{.Names}}", "--filter", "label="+service+"=shop")
		return task != ""
	})
	for _, pattern := range []string{"1-*", "lb_*", "ingress_sbox"} {
		if found, err := filepath.Glob(d.Path("/run/docker/netns/" + pattern)); err != nil || len(found) == 0 {
			t.Errorf("swarm has made no namespace %s (%v)", pattern, err)
		}
	}
	for _, c := range d.snapshot().Containers {
		if c.Runtime != "docker" || c.Unobservable != "" || c.Name != "web" && (c.Name != task || c.Labels[service] != "shop") {
			t.Errorf("there is a container %s, want only web and %s", c, task)
		}
	}
}

// TestDockerBirth: an agent sets the values of a container before its program runs.
func TestDockerBirth(t *testing.T) {
	d := newDocker(t, nil)
	d.startAgent("docker")
	d.run("--name", "first")
	d.eventually("the value in the first container", func() bool { return d.hasBirthValue(d.pid("first")) })
	d.expectBirths("bridge", 5, func(int) string { return d.docker("run", "--rm", image, "cat", udpTimeout) })
	d.docker("restart", "-t", "0", "first")
	d.eventually("the value after a restart", func() bool { return d.hasBirthValue(d.pid("first")) })
}
