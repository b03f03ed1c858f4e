package kernel

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"nfsync.dev/nfsync/internal/nf"
)

// ConntrackTable returns how many entries the conntrack table of the calling thread's network
// namespace has, and its limit, which is 0 where there is none. Both are absent where the kernel
// has no conntrack.
func (fs FS) ConntrackTable() (count, limit nf.Value) {
	dir, err := fs.openNetfilter()
	defer dir.close()
	if err != nil {
		return nf.Unknown(err.Error()), nf.Unknown(err.Error())
	}
	name, _ := sysctlFileName(nf.KeyMax)
	return dir.fact("", countFile).Live, dir.fact(nf.KeyMax, name).Live
}

// ConntrackDrops returns what the calling thread's network namespace has lost to a full table
// since it was made: /proc/net/stat/nf_conntrack, which each namespace has for itself
// (ct_cpu_seq_show in net/netfilter/nf_conntrack_standalone.c). A kernel without that file is
// an error.
func (fs FS) ConntrackDrops() (nf.Drops, error) {
	text, err := readFile(fs.threadNet("stat/nf_conntrack"))
	if err != nil {
		return nf.Drops{}, err
	}
	return parseConntrackStat(text)
}

// parseConntrackStat adds up the counters of the CPUs. The first line names the columns, which
// differ by kernel; each line after it has the counters of one CPU in hexadecimal digits.
func parseConntrackStat(text []byte) (nf.Drops, error) {
	header, rest, _ := bytes.Cut(text, []byte("\n"))
	columns := bytes.Fields(header)
	at := func(name string) int {
		return slices.IndexFunc(columns, func(c []byte) bool { return string(c) == name })
	}
	dropAt, evictAt := at("drop"), at("early_drop")
	if dropAt < 0 || evictAt < 0 {
		return nf.Drops{}, fmt.Errorf("cannot read stat/nf_conntrack: it has no column drop or early_drop: %q", header)
	}
	var sum nf.Drops
	for line := range bytes.Lines(rest) {
		counters := bytes.Fields(line)
		if len(counters) != len(columns) {
			return nf.Drops{}, fmt.Errorf("cannot read stat/nf_conntrack: a line has %d counters, the header %d", len(counters), len(columns))
		}
		for i, counter := range map[int]*uint64{dropAt: &sum.Dropped, evictAt: &sum.Evicted} {
			n, err := strconv.ParseUint(string(counters[i]), 16, 64)
			if err != nil {
				return nf.Drops{}, fmt.Errorf("cannot read stat/nf_conntrack: %w", err)
			}
			*counter += n
		}
	}
	return sum, nil
}
