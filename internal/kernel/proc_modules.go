package kernel

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// procModule is one line of /proc/modules.
type procModule struct {
	refs      int // holders included; -1 where the kernel does not count
	holders   []string
	permanent bool
	state     string // Live, Loading or Unloading
}

// ready reports whether the module is neither being loaded nor unloaded.
func (m procModule) ready() bool { return m.state == "Live" }

func (fs FS) procModules() (map[string]procModule, error) {
	data, err := readFile(fs.proc("modules"))
	if err != nil {
		return nil, err
	}
	return parseProcModules(data), nil
}

// LoadedModules lists the modules of /proc/modules, sorted; none where it cannot be read.
func (fs FS) LoadedModules() []string {
	modules, err := fs.procModules()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(modules))
}

// parseProcModules reads /proc/modules: name, size, references, holders,
// state, address and taints (m_show in kernel/module/procfs.c; kernel/module.c
// before Linux 5.19). The holders are "-", or "a,b,"; "[permanent]," among them means
// that the module has no exit function. The references are "-" on a kernel without
// CONFIG_MODULE_UNLOAD, which can unload nothing.
func parseProcModules(data []byte) map[string]procModule {
	modules := map[string]procModule{}
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) < 5 {
			continue
		}
		m := procModule{refs: -1, state: fields[4]}
		if n, err := strconv.Atoi(fields[2]); err == nil {
			m.refs = n
		} else {
			m.permanent = true
		}
		for holder := range strings.SplitSeq(fields[3], ",") {
			switch holder {
			case "", "-":
			case "[permanent]":
				m.permanent = true
			default:
				m.holders = append(m.holders, holder)
			}
		}
		slices.Sort(m.holders)
		modules[fields[0]] = m
	}
	return modules
}
