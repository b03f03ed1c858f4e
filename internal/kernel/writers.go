package kernel

import (
	"os"
	"path"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// Writers returns what else than nfsync sets a key of the node, as far as files and running
// programs show it: the lines that Declared reads, commands of cron, and kube-proxy.
func (fs FS) Writers(k nf.Key) []nf.Writer {
	d := fs.Declared()
	d.readCron(fs)
	var list []nf.Writer
	for _, line := range d.Of(k) {
		if _, isModule := k.Module(); isModule && line.Directive != nf.DirectiveLoad || line.Value.IsUnknown() {
			continue
		}
		w := nf.Writer{Where: line.Place(), Value: line.Value}
		if line.Why != "" {
			w.Where += " (" + line.Why + ")"
		}
		list = append(list, w)
	}
	return append(list, fs.kubeProxies(k)...)
}

// readCron reads the commands that cron runs: tables (crontab(5)), and scripts.
func (d *Declarations) readCron(fs FS) {
	files := []string{"etc/crontab"}
	for _, dir := range []string{"etc/cron.d", "etc/cron.hourly", "etc/cron.daily", "var/spool/cron", "var/spool/cron/crontabs"} {
		entries, _ := os.ReadDir(fs.inRoot(dir))
		for _, e := range entries {
			if !e.IsDir() {
				files = append(files, path.Join(dir, e.Name()))
			}
		}
	}
	slices.Sort(files)
	for _, file := range files {
		data, _ := fs.readConf(file)
		for number, text := range systemdLines(data) {
			d.late = append(d.late, fs.commandSysctls(text, "/"+file, number)...)
		}
	}
}
