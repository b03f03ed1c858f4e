package host

import (
	"fmt"

	"nfsync.dev/nfsync/internal/nf"
)

// sysctls reads and writes conntrack values of the calling thread's network
// namespace; kernel.FS does.
type sysctls interface {
	Sysctls(keys []nf.Key, all bool) []nf.Fact
	SetSysctl(k nf.Key, n int64) error
}

// limit is the conntrack.max of one network namespace. enter runs a function in
// that namespace.
type limit struct {
	fs    sysctls
	enter func(func() error) error
}

func (l limit) read() (n int64, err error) {
	err = l.enter(func() error {
		v := l.fs.Sysctls([]nf.Key{nf.KeyMax}, false)[0].Live
		var ok bool
		if n, ok = v.Number(); !ok {
			return fmt.Errorf("cannot read %s: it is %s %s", nf.KeyMax, v, v.Why())
		}
		return nil
	})
	return n, err
}

func (l limit) write(n int64) error {
	return l.enter(func() error { return l.fs.SetSysctl(nf.KeyMax, n) })
}
