package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// maxAttempts is how often tables are read that change while they are read.
const maxAttempts = 10

// maxTables bounds the tables of one namespace: a snapshot has each of them.
const maxTables = 1000

// Attributes of linux/netfilter/nf_tables.h that are newer than the headers of
// x/sys.
const (
	nftaDynsetExpressions = 10
	nftaSetExpr           = 17
	nftaSetExpressions    = 18
	nftaFlowtableTable    = 1
	nftaFlowtableName     = 2
	nftaHookDevs          = 4
	nftTableOwner         = 2 // NFT_TABLE_F_OWNER
)

// nftFamilies are the families of nf_tables, as nft(8) writes them.
var nftFamilies = map[uint8]string{
	unix.NFPROTO_INET:   "inet",
	unix.NFPROTO_IPV4:   "ip",
	unix.NFPROTO_ARP:    "arp",
	unix.NFPROTO_NETDEV: "netdev",
	unix.NFPROTO_BRIDGE: "bridge",
	unix.NFPROTO_IPV6:   "ip6",
}

// nftHooks are the hooks of a family by number (enum nf_inet_hooks and
// nf_dev_hooks in linux/netfilter.h; linux/netfilter_arp.h), as nft(8) writes
// them.
func nftHooks(family string) []string {
	switch family {
	case "netdev":
		return []string{"ingress", "egress"}
	case "arp":
		return []string{"input", "output", "forward"}
	}
	return []string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}
}

// nftDump is everything that nf_tables has in one network namespace but the elements of
// sets: a stateful expression of an element is also one of its set, or of the rule that
// added it.
type nftDump struct {
	tables, chains, rules, sets, objects, flowtables []nfMessage

	generation uint32 // of all of it; 0: unknown
	unchanged  bool   // it is that of the last dump: nothing was dumped
}

// NftTables are the tables of nf_tables that were read last in one network namespace, with the
// generation of the ruleset. The kernel increments it with each commit, before the commit changes
// anything (nf_tables_commit in net/netfilter/nf_tables_api.c).
type NftTables struct {
	module     uint64 // the inode of the module's directory in sysfs: another one counts from the start
	generation uint32 // 0: none was kept
	tables     []nf.Table
}

// keep keeps the tables of a dump, if only commits can change them. The kernel removes without
// one the tables of a socket that is closed (NFT_TABLE_F_OWNER), and the hooks of a device that
// has gone.
func (l *NftTables) keep(d nftDump, tables []nf.Table) {
	l.generation, l.tables = 0, nil
	if d.generation != 0 && len(d.flowtables) == 0 && !slices.ContainsFunc(d.tables, nfMessage.ownedTable) && !slices.ContainsFunc(d.chains, nfMessage.deviceChain) {
		l.generation, l.tables = d.generation, tables
	}
}

// of forgets the tables if they are those of another module than the one that is loaded now.
func (l *NftTables) of(module uint64) {
	if l.module != module {
		*l = NftTables{module: module}
	}
}

// ownedTable reports whether a table belongs to a socket, or cannot be understood.
func (m nfMessage) ownedTable() bool {
	f, err := parseFields(m.attributes, unix.NFTA_TABLE_FLAGS)
	if err != nil || f[0].data == nil {
		return err != nil
	}
	flags, err := f[0].number()
	return err != nil || flags&nftTableOwner != 0
}

// deviceChain reports whether a chain may be at the hook of a device, as those of the family
// netdev and of the hook ingress are.
func (m nfMessage) deviceChain() bool {
	f, err := parseFields(m.attributes, unix.NFTA_CHAIN_HOOK)
	if err != nil || m.family == unix.NFPROTO_NETDEV {
		return true
	}
	hook, err := parseFields(f[0].data, unix.NFTA_HOOK_DEV, nftaHookDevs)
	return err != nil || hook[0].data != nil || hook[1].data != nil
}

// readNftables reads the tables of nf_tables in the network namespace of the calling
// thread, over netlink. nf_tables must be loaded or built in. It needs CAP_NET_ADMIN in
// the namespace.
//
// If last has their generation, they are not read again. Otherwise it keeps them.
func readNftables(ctx context.Context, last *NftTables) ([]nf.Table, error) {
	for range maxAttempts {
		d, err := dumpNftables(ctx, last.generation)
		if err == nil && d.unchanged {
			return last.tables, nil
		}
		if err == nil {
			var tables []nf.Table
			if tables, err = d.parse(); err == nil {
				last.keep(d, tables)
				return tables, nil
			}
		}
		if !errors.Is(err, errInterrupted) && !errors.Is(err, unix.EINTR) {
			return nil, fmt.Errorf("cannot read the tables of nf_tables: %w", err)
		}
	}
	return nil, fmt.Errorf("cannot read the tables of nf_tables: %w, %d times", errInterrupted, maxAttempts)
}

// dumpNftables dumps everything in one generation of the ruleset, unless that is the known one.
func dumpNftables(ctx context.Context, known uint32) (nftDump, error) {
	var d nftDump
	conn, err := openNfnetlink()
	if err != nil {
		return d, err
	}
	defer conn.Close()
	if known != 0 {
		if now, err := conn.generation(ctx); err == nil && now == known {
			d.unchanged = true
			return d, nil
		}
	}
	// Most namespaces have no table.
	tables, err := conn.ask(ctx, netlink.Dump, unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETTABLE, unix.NFPROTO_UNSPEC, nil)
	if err != nil || len(tables) == 0 {
		return d, err
	}
	before, err := conn.generation(ctx)
	if err == nil {
		err = awaitCommit(ctx)
	}
	if err != nil {
		return d, err
	}
	for _, part := range []struct {
		message uint8
		later   bool // the message is younger than nf_tables
		list    *[]nfMessage
	}{
		{unix.NFT_MSG_GETTABLE, false, &d.tables},
		{unix.NFT_MSG_GETCHAIN, false, &d.chains},
		{unix.NFT_MSG_GETRULE, false, &d.rules},
		{unix.NFT_MSG_GETSET, false, &d.sets},
		{unix.NFT_MSG_GETOBJ, true, &d.objects},          // Linux 4.10
		{unix.NFT_MSG_GETFLOWTABLE, true, &d.flowtables}, // Linux 4.16
	} {
		*part.list, err = conn.ask(ctx, netlink.Dump, unix.NFNL_SUBSYS_NFTABLES, part.message, unix.NFPROTO_UNSPEC, nil)
		if part.later && errors.Is(err, unix.EINVAL) {
			err = nil // nfnetlink does not have the message: there are none of these
		}
		if err == nil && len(d.tables) > maxTables {
			err = fmt.Errorf("there are %d tables, which is more than %d", len(d.tables), maxTables)
		}
		if err != nil {
			return d, err
		}
	}
	if err := awaitCommit(ctx); err != nil {
		return d, err
	}
	after, err := conn.generation(ctx)
	if err == nil && after != before {
		err = errInterrupted
	}
	d.generation = after
	return d, err
}

// awaitCommit waits for the end of a commit that is under way. A commit changes the
// generation and what a dump shows one after the other (nf_tables_commit in
// net/netfilter/nf_tables_api.c), and another processor may see the second change before the
// first one: a dump in between mixes two rulesets of one generation. Before the dump the wait is
// for a commit that has changed the generation alone, after it for one that has not yet.
//
// The start of a batch waits for the commit mutex. This batch has no end and asks for
// generation 2^32-1: the kernel refuses it or, before Linux 4.12, aborts it, and changes
// nothing. Nobody reads the answer: sending returns when the kernel has handled the batch.
//
// Whoever commits in the namespace decides how long that takes, and the wait for a mutex
// cannot be interrupted. If ctx is done before, the thread that waits is left behind.
func awaitCommit(ctx context.Context) error {
	conn, err := openNfnetlink()
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		defer conn.Close()
		sent <- conn.beginBatch(unix.NFNL_SUBSYS_NFTABLES, math.MaxUint32)
	}()
	select {
	case err := <-sent:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// generation returns the number that each change of the ruleset increments; 0 before
// Linux 3.18, which does not have it.
func (n *nfnetlink) generation(ctx context.Context) (uint32, error) {
	answers, err := n.ask(ctx, 0, unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETGEN, unix.AF_UNSPEC, nil)
	if errors.Is(err, unix.EINVAL) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(answers) == 0 {
		return 0, errMalformed
	}
	f, err := parseFields(answers[0].attributes, unix.NFTA_GEN_ID)
	if err != nil {
		return 0, err
	}
	return f[0].number()
}

// nftID names a table: its name is unique in its family.
type nftID struct {
	family uint8
	name   string
}

// nftTable is a table while it is assembled.
type nftTable struct {
	nf.Table
	uses uses
}

// parse returns the tables of a dump, sorted by family and name. A part of a table that
// the dump does not have is errInterrupted: the table was added meanwhile.
func (d nftDump) parse() ([]nf.Table, error) {
	tables := map[nftID]*nftTable{}
	for _, m := range d.tables {
		f, err := parseFields(m.attributes, unix.NFTA_TABLE_NAME)
		if err != nil {
			return nil, err
		}
		id := nftID{m.family, f[0].text()}
		tables[id] = &nftTable{nf.Table{Backend: nf.BackendNft, Family: familyName(m.family), Name: id.name}, uses{}}
	}
	for _, part := range []struct {
		list   []nfMessage
		fields []uint16 // the attributes to parse; the first names the table
		add    func(t *nftTable, f []attribute) error
	}{
		{d.chains, []uint16{unix.NFTA_CHAIN_TABLE, unix.NFTA_CHAIN_NAME, unix.NFTA_CHAIN_HOOK, unix.NFTA_CHAIN_POLICY}, addNftChain},
		{d.rules, []uint16{unix.NFTA_RULE_TABLE, unix.NFTA_RULE_CHAIN, unix.NFTA_RULE_EXPRESSIONS}, addNftRule},
		{d.sets, []uint16{unix.NFTA_SET_TABLE, unix.NFTA_SET_NAME, nftaSetExpr, nftaSetExpressions}, addNftSet},
		{d.objects, []uint16{unix.NFTA_OBJ_TABLE, unix.NFTA_OBJ_NAME, unix.NFTA_OBJ_TYPE}, addNftObject},
		{d.flowtables, []uint16{nftaFlowtableTable, nftaFlowtableName}, addNftFlowtable},
	} {
		for _, m := range part.list {
			f, err := parseFields(m.attributes, part.fields...)
			if err != nil {
				return nil, err
			}
			t, ok := tables[nftID{m.family, f[0].text()}]
			if !ok {
				return nil, errInterrupted
			}
			if err := part.add(t, f[1:]); err != nil {
				return nil, err
			}
		}
	}
	list := make([]nf.Table, 0, len(tables))
	for _, t := range tables {
		t.uses.list(&t.Table)
		list = append(list, t.Table)
	}
	slices.SortFunc(list, func(a, b nf.Table) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Name, b.Name))
	})
	return list, nil
}

func familyName(family uint8) string {
	if name, ok := nftFamilies[family]; ok {
		return name
	}
	return fmt.Sprintf("family %d", family)
}

// addNftChain adds the chain to the guards if it is a base chain with another policy than
// accept.
func addNftChain(t *nftTable, f []attribute) error {
	name, hook, policy := f[0], f[1], f[2]
	if hook.data == nil || policy.data == nil {
		return nil
	}
	verdict, err := policy.number()
	if err != nil || verdict == nfAccept {
		return err
	}
	if f, err = parseFields(hook.data, unix.NFTA_HOOK_HOOKNUM); err != nil {
		return err
	}
	number, err := f[0].number()
	if err != nil {
		return err
	}
	hookName := fmt.Sprintf("hook %d", number)
	if hooks := nftHooks(t.Family); int64(number) < int64(len(hooks)) {
		hookName = hooks[number]
	}
	t.Guards = append(t.Guards, guard(name.text(), hookName))
	return nil
}

// Verdicts of linux/netfilter.h.
const (
	nfAccept = 1 // NF_ACCEPT
	nfRepeat = 4 // NF_REPEAT, which stands for the return of x_tables
)

func addNftRule(t *nftTable, f []attribute) error {
	needs, err := parseExpressions(f[1].data)
	t.Rules++
	t.uses.add(f[0].text(), needs)
	return err
}

// addNftSet adds the expressions that every element of a set has.
func addNftSet(t *nftTable, f []attribute) error {
	needs, err := parseNested(f[1].data, f[2].data)
	t.uses.add("set "+f[0].text(), needs)
	return err
}

func addNftObject(t *nftTable, f []attribute) error {
	kind, err := f[1].number()
	t.uses.add("object "+f[0].text(), objectNeeds(kind))
	return err
}

func addNftFlowtable(t *nftTable, f []attribute) error {
	t.uses.add("flowtable "+f[0].text(), []need{{nf.LevelStateful, "flowtable"}})
	return nil
}

// parseExpressions returns what a list of expressions needs (NFTA_LIST_ELEM).
func parseExpressions(b []byte) ([]need, error) {
	list, err := attributes(b)
	if err != nil {
		return nil, err
	}
	var needs []need
	for _, a := range list {
		if a.kind != unix.NFTA_LIST_ELEM {
			continue
		}
		more, err := parseExpression(a.data)
		if err != nil {
			return nil, err
		}
		needs = append(needs, more...)
	}
	return needs, nil
}

// nftNested are the expressions that contain others, by name, with the attributes that show
// which: dynset, references to objects, and the x_tables matches and targets that
// iptables-nft uses.
var nftNested = map[string][]uint16{
	"match":  {unix.NFTA_MATCH_NAME},
	"target": {unix.NFTA_TARGET_NAME, unix.NFTA_TARGET_INFO},
	"dynset": {unix.NFTA_DYNSET_EXPR, nftaDynsetExpressions},
	"objref": {unix.NFTA_OBJREF_IMM_TYPE},
}

// parseExpression returns what one expression needs, by its name.
func parseExpression(b []byte) ([]need, error) {
	f, err := parseFields(b, unix.NFTA_EXPR_NAME, unix.NFTA_EXPR_DATA)
	if err != nil {
		return nil, err
	}
	name := f[0].text()
	if name == "" {
		return nil, errMalformed
	}
	kinds, nested := nftNested[name]
	if !nested {
		return expressionNeeds(name), nil
	}
	if f, err = parseFields(f[1].data, kinds...); err != nil {
		return nil, err
	}
	switch {
	case name == "match":
		return matchNeeds(f[0].text()), nil
	case name == "target":
		return targetNeeds(f[0].text(), f[1].data), nil
	case name == "dynset":
		return parseNested(f[0].data, f[1].data)
	case f[0].data == nil: // objref
		return nil, nil
	}
	kind, err := f[0].number()
	return objectNeeds(kind), err
}

// parseNested returns what the expressions need that a set or dynset gives to its
// elements: a single one, or a list.
func parseNested(single, list []byte) ([]need, error) {
	needs, err := parseExpressions(list)
	if err != nil || single == nil {
		return needs, err
	}
	more, err := parseExpression(single)
	return append(needs, more...), err
}
