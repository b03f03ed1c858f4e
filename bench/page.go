package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// costs is the part of the page that people write.
//
//go:embed costs.md
var costs string

const introduction = `# Performance

` + "`make bench`" + ` writes this page. Its program (` + "`bench/`" + `) makes its own scenes, in namespaces of its own. It measures nfsync, the
floor, which is a program that does the same work and nothing else, and what people use instead, on the same work in the same run.

Each section is a question, and each line of its table a program at one size: the median time of its runs, the lowest and the highest, the
processor time (user and system, with its children), the most memory of one of its processes, and how many times as long as nfsync it takes.
The programs of a table run in turn, so that what disturbs the machine disturbs all alike. Read the numbers as ratios: another machine has
other times. Memory with ≤ is a bound, since the kernel counts that of the program that measures.

`

// page returns the page about what was measured.
func (b *bench) page() ([]byte, error) {
	var p strings.Builder
	p.WriteString(introduction)
	if b.quick {
		p.WriteString("This was a quick run: fewer runs and smaller scenes, without ansible and without 5,000 namespaces.\n\n")
	}
	machine, err := b.machineTable()
	if err != nil {
		return nil, err
	}
	p.WriteString("## The machine\n\n" + machine + "\n")
	p.WriteString(b.targetsTable() + "\n")
	for _, t := range b.tables {
		p.WriteString(t.markdown() + "\n")
	}
	p.WriteString(costs)
	return []byte(p.String()), nil
}

// targetsTable returns all targets, and a line for each that is missed.
func (b *bench) targetsTable() string {
	lines := [][]string{{"what", "scene", "target", "measured", "result"}}
	var missed []string
	for _, t := range b.tables {
		for _, r := range t.rows {
			for _, g := range r.targets {
				lines = append(lines, []string{g.of.what, g.of.scene, g.wanted(), g.unit(g.got), g.result()})
				if !g.met() {
					missed = append(missed, "- "+g.missed())
				}
			}
		}
	}
	text := "## The targets\n\n" + grid(lines, 3) + "\n"
	if len(missed) == 0 {
		return text + "All are met.\n"
	}
	return text + "Missed:\n\n" + strings.Join(missed, "\n") + "\n"
}

// machineTable returns what the numbers depend on.
func (b *bench) machineTable() (string, error) {
	lines := [][]string{{"what", "value"}, {"date", b.began.UTC().Format(time.DateOnly)},
		{"processors", fmt.Sprintf("%d, %s", runtime.NumCPU(), processor())},
		{"memory", memory()}, {"kernel", kernelRelease()}, {"load before the run", b.load},
		{"the work directory is on", fileSystem(b.work)}, {"go", runtime.Version()}}
	for _, v := range []struct {
		name string
		args []string
	}{
		{"nfsync", []string{b.nfsync, "version"}}, {"git", []string{"git", "--version"}}, {"iproute2", []string{"ip", "-V"}},
		{"util-linux", []string{"nsenter", "--version"}}, {"procps", []string{"sysctl", "--version"}}, {"ansible", []string{"ansible", "--version"}},
	} {
		if v.name == "ansible" && b.ansible == 0 {
			continue
		}
		out, err := b.command(command{args: v.args}).Output()
		if err != nil {
			return "", fmt.Errorf("%s: %w", strings.Join(v.args, " "), err)
		}
		line, _, _ := strings.Cut(string(out), "\n")
		lines = append(lines, []string{v.name, line})
	}
	return grid(lines, 2), nil
}

// processor returns the name of the processors, as the kernel has it.
func processor() string { return field("/proc/cpuinfo", "model name") }

// memory returns the size of the machine's memory.
func memory() string {
	var kib float64
	if _, err := fmt.Sscan(field("/proc/meminfo", "MemTotal"), &kib); err != nil {
		return "unknown"
	}
	return number(kib/(1<<20)) + " GiB"
}

// field returns a value of a file of names and values.
func field(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// loadAverage returns how many processes have run at the same time within the last minute, on average.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	minute, _, _ := strings.Cut(string(text), " ")
	return minute
}

func kernelRelease() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text)) + ", " + runtime.GOARCH
}

// fileSystem returns the type of the file system that has a path.
func fileSystem(path string) string {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "unknown"
	}
	kind, longest := "unknown", 0
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) > 2 && len(f[1]) >= longest && (strings.HasPrefix(path, filepath.Clean(f[1]+"/")+"/") || f[1] == "/") {
			kind, longest = f[2], len(f[1])
		}
	}
	return kind
}
