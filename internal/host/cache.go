package host

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes"
)

// Cache makes it cheap to observe the same containers again: for the machines of an agent's laps,
// or of a run that changes what it has observed. It keeps their sysctl files open, so that these are
// read and written without entering a namespace, and the tables of their rules, as long as the
// kernel says that these are the same. Several goroutines may use it. A nil Cache keeps nothing.
//
// Open files do not keep a namespace. Each is known by the instance in which it was opened, and
// never answers for another one: see kernel.SysctlFiles.
type Cache struct {
	mu    sync.Mutex
	of    map[string]*kernel.SysctlFiles // by instance
	inode map[string]string              // the instance, by what netns.Inode returns of it
	rules map[string]kernel.NftTables    // by instance
	room  int                            // files that may still be opened
	asked bool                           // whether files may be kept open at all
	files runtimes.Files                 // of container runtimes
	limit func() int                     // raises the limit of open files, and returns it
}

// spareFiles are the open files that are left for everything else, such as git and the agent's
// listener.
const spareFiles = 512

// maxOpenFiles bounds the files that are kept open. Each takes about a kilobyte of the kernel's
// memory.
const maxOpenFiles = 100_000

// NewCache returns an empty Cache.
func NewCache() *Cache {
	return &Cache{of: map[string]*kernel.SysctlFiles{}, inode: map[string]string{}, rules: map[string]kernel.NftTables{}, limit: func() int { return kernel.RaiseFileLimit(maxOpenFiles + spareFiles) }}
}

// read reads what is needed of an instance, the facts into the given slice; false if its files
// are not open, or do not answer any more.
func (c *Cache) read(facts []nf.Fact, instance string, n nf.Need) (ns nf.Namespace, ok bool) {
	if c == nil || n.All || len(n.Keys) == 0 {
		return ns, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	files := c.of[instance]
	if files == nil || !files.Has(n.Keys, n.Count) {
		return ns, false
	}
	var err error
	if ns.Facts, ns.Count, err = files.Read(facts, n.Keys, n.Count); err != nil {
		c.drop(instance)
		return nf.Namespace{}, false
	}
	return ns, true
}

// write writes a value of an instance; false if its file is not open, or does not answer any
// more.
func (c *Cache) write(instance string, k nf.Key, number int64) (ok bool, err error) {
	if c == nil {
		return false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	files := c.of[instance]
	if files == nil || !files.Has([]nf.Key{k}, false) {
		return false, nil
	}
	if err = files.Write(k, number); errors.Is(err, fs.ErrNotExist) {
		c.drop(instance)
		return false, nil
	}
	return true, err
}

// values reads the values that are needed of the network namespace of the calling thread, which is
// that of the instance. It opens their files, if these can all be kept.
func (c *Cache) values(fs kernel.FS, instance string, n nf.Need) (ns nf.Namespace) {
	n.Keys = slices.DeleteFunc(slices.Clone(n.Keys), func(k nf.Key) bool { return !k.Conntrack() })
	ns, ok := c.read(nil, instance, n)
	if !ok {
		ns, ok = c.open(fs, instance, n)
	}
	if ok {
		return ns
	}
	ns.Facts = fs.Sysctls(n.Keys, n.All)
	if n.Count {
		ns.Count = fs.Count()
	}
	return ns
}

// open opens the files of what is needed in the network namespace of the calling thread, which
// is that of the instance, and reads them. It is false if they cannot all be opened or kept.
func (c *Cache) open(fs kernel.FS, instance string, n nf.Need) (ns nf.Namespace, ok bool) {
	if c == nil || instance == "" || n.All || len(n.Keys) == 0 {
		return ns, false
	}
	need := len(n.Keys) + 1
	if !c.reserve(instance, need) {
		return ns, false
	}
	files, err := fs.OpenSysctls(n.Keys, n.Count)
	if err == nil {
		if ns.Facts, ns.Count, err = files.Read(nil, n.Keys, n.Count); err != nil {
			files.Close()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room += need
	if err != nil {
		return nf.Namespace{}, false
	}
	c.drop(instance) // another goroutine may have opened them too
	c.room -= files.Len()
	c.of[instance], c.inode[netns.Inode(instance)] = files, instance
	return ns, true
}

// reserve takes the room of that many files for an instance, whose open files it closes; false if
// there is none.
func (c *Cache) reserve(instance string, need int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(instance)
	if !c.hasRoom(need) {
		return false
	}
	c.room -= need
	return true
}

// hasRoom reports whether that many more files may be opened. Once it asks the kernel whether they
// answer from outside, and raises the limit of open files.
func (c *Cache) hasRoom(need int) bool {
	if !c.asked {
		c.asked = true
		if kernel.SysctlsOutside.Ask(nil).Can == nf.Yes {
			c.room = min(maxOpenFiles, c.limit()-spareFiles)
		}
	}
	return c.room >= need
}

// keepOnly drops what is kept of instances that are not listed any more. That of the node is its
// boot id.
func (c *Cache) keepOnly(node string, listed []nf.Container) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.of)+len(c.rules) == 0 {
		return
	}
	left := map[string]bool{node: true}
	for i := range listed {
		left[listed[i].Instance] = true
	}
	for instance := range c.of {
		if !left[instance] {
			c.drop(instance)
		}
	}
	maps.DeleteFunc(c.rules, func(instance string, _ kernel.NftTables) bool { return !left[instance] })
}

// readRules reads the rules of the network namespace of the calling thread, which is that of the
// instance, as kernel.FS.Rules does. Nothing is kept of an instance that another namespace may have
// after it: that one counts its generations from the start.
func (c *Cache) readRules(ctx context.Context, fs kernel.FS, m *nf.Modules, instance string) nf.Rules {
	if c == nil || instance == "" || !netns.HasCookie(instance) {
		return fs.Rules(ctx, m, nil)
	}
	c.mu.Lock()
	last := c.rules[instance]
	c.mu.Unlock()
	rules := fs.Rules(ctx, m, &last)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rules[instance] = last
	return rules
}

// alive returns the instance that has an inode, as netns.Runtime.Alive does: one of which a file
// still answers.
func (c *Cache) alive(inode string) (instance string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if instance, ok = c.inode[inode]; ok && !c.of[instance].Answer() {
		c.drop(instance)
		ok = false
	}
	return instance, ok
}

// has reports whether files of an instance are open.
func (c *Cache) has(instance string) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[instance] != nil
}

// Close closes all files. The Cache can be used again after it.
func (c *Cache) Close() { c.keepOnly("", nil) }

// drop closes the files of an instance.
func (c *Cache) drop(instance string) {
	if files := c.of[instance]; files != nil {
		c.room += files.Len()
		files.Close()
		delete(c.of, instance)
		delete(c.inode, netns.Inode(instance))
	}
}
