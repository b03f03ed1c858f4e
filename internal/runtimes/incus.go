package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// incus is Incus and LXD. LXC runs their containers, each with a monitor. Virtual machines have none,
// and are no containers here.
var incus = runtime{name: nf.RuntimeIncus, list: listIncus, labels: labelsIncus, watch: lxcCgroups, births: lxcCgroups, born: bornIncus}

// incusDirs are the directories of Incus, of LXD, and of LXD from a snap.
var incusDirs = []string{"/var/lib/incus", "/var/lib/lxd", "/var/snap/lxd/common/lxd"}

// isIncusDir reports whether a directory is that of the containers of Incus.
func isIncusDir(dir string) bool {
	return filepath.Base(dir) == "containers" && slices.Contains(incusDirs, filepath.Dir(dir))
}

func listIncus(ctx context.Context, n Node) ([]record, error) {
	return n.listMonitored(ctx, describeIncus)
}

func bornIncus(n Node, entry string) (record, bool) { return n.bornMonitored(entry, describeIncus) }

// describeIncus returns the record of a container by its directory and the name that it has for LXC;
// false if it is none of Incus.
func describeIncus(dir, name string) (record, bool) {
	if !isIncusDir(dir) {
		return record{}, false
	}
	id := incusID(name)
	return namedRecord(id, id), true
}

// incusID returns the id of a container by the name that it has for LXC: NAME, or PROJECT_NAME of
// another project than the default one (Instance in internal/server/project/project.go of Incus).
// Neither a project nor a container can have an underscore in its name.
func incusID(name string) string { return strings.Replace(name, "_", "/", 1) }

// labelsIncus asks Incus for the labels of its containers: what people have written into user.*.
func labelsIncus(ctx context.Context, n Node) (map[string]map[string]string, error) {
	all := map[string]map[string]string{}
	var errs error
	for _, dir := range incusDirs {
		socket := n.path(dir, "unix.socket")
		if _, err := os.Lstat(socket); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var answer incusInstances
		if err := ask(ctx, socket, "/1.0/instances?recursion=1&all-projects=true", &answer); err != nil {
			errs = errors.Join(errs, fmt.Errorf("cannot ask for labels: %w; systemctl status incus, or lxd, may say why", err))
		}
		answer.addLabels(all)
	}
	return all, errs
}

// incusInstances is what is read of the answer to GET /1.0/instances?recursion=1 (Instance in
// shared/api/instance.go of Incus). The expanded configuration has that of the profiles too.
type incusInstances struct {
	Metadata []struct {
		Name     string
		Project  string // empty: of a version without projects
		Type     string
		Config   map[string]string
		Expanded map[string]string `json:"expanded_config"`
	}
}

// addLabels adds the labels that an answer of Incus has, by the ids of containers.
func (answer incusInstances) addLabels(all map[string]map[string]string) {
	for _, i := range answer.Metadata {
		if i.Type == "virtual-machine" {
			continue
		}
		id := i.Name
		if i.Project != "" && i.Project != "default" {
			id = i.Project + "/" + i.Name
		}
		config := i.Expanded
		if config == nil {
			config = i.Config
		}
		all[id] = incusLabels(config)
	}
}

// notLabels are the keys below user. from which cloud-init configures a container. They hold files,
// with passwords in them.
var notLabels = []string{"user-data", "vendor-data", "meta-data", "network-config"}

// incusLabels returns the labels of a container: the keys user.*, without user.
func incusLabels(config map[string]string) map[string]string {
	labels := map[string]string{}
	for key, value := range config {
		if name, ok := strings.CutPrefix(key, "user."); ok && !slices.Contains(notLabels, name) {
			labels[name] = value
		}
	}
	return labels
}
