package adopt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// group returns the policies of the candidates that are not left out: one of the node, and one for
// all containers of a runtime with the same values.
func (d *describer) group() []Policy {
	wishes := map[nf.Target][]spec.KeyWish{}
	for _, c := range d.candidates {
		if c.why == "" {
			wishes[c.Target] = append(wishes[c.Target], spec.KeyWish{Key: c.Key, Wish: c.Wish})
		}
	}
	groups, groupOf := d.alike(wishes)
	selects := d.index(groupOf)
	var containers []Policy
	for number, g := range groups {
		s, selected := d.selector(g, number, selects)
		if len(selected) == 0 {
			continue
		}
		p := Policy{Policy: spec.Policy{Kind: nf.KindContainerPolicy, Nodes: d.nodes(), Containers: s, Restart: nf.RestartRefuse, Wishes: wishes[selected[0].Target()]}}
		p.Source.Name = nameOf(selected, p.Wishes)
		p.Left = d.leftOf(func(t nf.Target) bool { at, ok := groupOf[t]; return ok && at == number })
		containers = append(containers, p)
	}
	n := Policy{Policy: spec.Policy{Kind: nf.KindNodePolicy, Nodes: d.nodes(), Wishes: wishes[nf.Node]}}
	n.Source.Name = validName(d.snap.Node.Name, "node")
	n.Left = d.leftOf(func(nf.Target) bool { return true })
	if len(n.Wishes)+len(n.Left) == 0 && (len(containers) > 0 || !d.opt.Filter.IsZero()) {
		return containers
	}
	return append([]Policy{n}, containers...)
}

// alike returns the containers with wishes, those with the same ones together, and the number of
// the group of each.
func (d *describer) alike(wishes map[nf.Target][]spec.KeyWish) (groups [][]*nf.Container, groupOf map[nf.Target]int) {
	numbers := map[string]int{}
	groupOf = map[nf.Target]int{}
	for i := range d.snap.Containers {
		c := &d.snap.Containers[i]
		if len(wishes[c.Target()]) == 0 {
			continue
		}
		key := fmt.Sprintf("%s %v", c.Runtime, wishes[c.Target()])
		number, known := numbers[key]
		if !known {
			number = len(groups)
			numbers[key] = number
			groups = append(groups, nil)
		}
		groups[number] = append(groups[number], c)
		groupOf[c.Target()] = number
	}
	return groups, groupOf
}

// leftOf takes what is left of some targets.
func (d *describer) leftOf(of func(nf.Target) bool) (list []Left) {
	d.left = slices.DeleteFunc(d.left, func(l Left) bool {
		if of(l.Target) {
			list = append(list, l)
			return true
		}
		return false
	})
	return list
}

// nodes selects this node, if a policy can have its name.
func (d *describer) nodes() (s spec.NodeSelector) {
	if isText(d.snap.Node.Name) {
		s.Names = []string{nf.EscapePattern(d.snap.Node.Name)}
	}
	return s
}

// owners says which containers a name or an id selects: those of one group, or of several.
type owners map[string]int

const several = -1

func (o owners) add(name string, group int) {
	if other, ok := o[name]; ok && other != group {
		group = several
	}
	o[name] = group
}

// selects is what the names and ids of a runtime select.
type selects struct{ names, ids owners }

// index returns what selects the containers of each runtime, by the group of each.
func (d *describer) index(groupOf map[nf.Target]int) map[string]selects {
	all := map[string]selects{}
	for i := range d.snap.Containers {
		c := &d.snap.Containers[i]
		of, ok := all[c.Runtime]
		if !ok {
			of = selects{owners{}, owners{}}
			all[c.Runtime] = of
		}
		group, ok := groupOf[c.Target()]
		if !ok {
			group = several
		}
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			of.names.add(name, group)
		}
		for _, id := range append([]string{c.ID, c.UUID}, c.Aliases...) {
			of.ids.add(strings.ToLower(id), group)
		}
	}
	return all
}

// selector returns a selector of the containers of a group, by their names or, where those select
// others too, their ids, and the containers that it selects. The others are left.
func (d *describer) selector(group []*nf.Container, number int, all map[string]selects) (s spec.ContainerSelector, selected []*nf.Container) {
	of := all[group[0].Runtime]
	if len(all) > 1 {
		s.Runtimes = []string{group[0].Runtime}
	}
	for _, c := range group {
		switch {
		case isText(c.Name) && of.names[c.Name] == number:
			s.Names = append(s.Names, nf.EscapePattern(c.Name))
		case isText(c.ID) && of.ids[strings.ToLower(c.ID)] == number:
			s.IDs = append(s.IDs, c.ID)
		default:
			d.left = append(d.left, Left{Node: d.snap.Node.Name, Target: c.Target(), Why: "neither its name nor its id selects it alone"})
			continue
		}
		selected = append(selected, c)
	}
	slices.SortFunc(s.Names, nf.CompareNames)
	s.Names = slices.Compact(s.Names)
	return s, selected
}

// isText reports whether a policy can have a name as it is.
func isText(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.ContainsRune(name, utf8.RuneError)
}

// add adds a policy, or its nodes and what it leaves to a policy that is otherwise the same.
func add(list []Policy, p Policy) []Policy {
	same := func(q Policy) bool {
		return q.Kind == p.Kind && slices.Equal(q.Wishes, p.Wishes) && slices.Equal(q.Containers.Names, p.Containers.Names) && slices.Equal(q.Containers.IDs, p.Containers.IDs) &&
			slices.Equal(q.Containers.Runtimes, p.Containers.Runtimes) && len(q.Nodes.Names) > 0 && len(p.Nodes.Names) > 0
	}
	if i := slices.IndexFunc(list, same); i >= 0 {
		list[i].Nodes.Names = append(list[i].Nodes.Names, p.Nodes.Names...)
		list[i].Left = append(list[i].Left, p.Left...)
		return list
	}
	return append(list, p)
}

// nameOf returns a name for a policy of these containers: what their names begin with or, if that is
// nothing, their level.
func nameOf(group []*nf.Container, wishes []spec.KeyWish) string {
	common := group[0].Name
	for _, c := range group[1:] {
		for !strings.HasPrefix(c.Name, common) {
			common = common[:len(common)-1]
		}
	}
	if len(group) > 1 {
		common = strings.TrimRight(common, "0123456789")
	}
	fallback := "containers"
	for _, w := range wishes {
		if w.Key == nf.KeyLevel {
			fallback = w.Wish.Value.String()
		}
	}
	return validName(common, fallback)
}

const maxName = 60

// validName returns a name as a policy may have it.
func validName(name, fallback string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' {
			b.WriteRune(r)
		} else if s := b.String(); s != "" && s[len(s)-1] != '-' {
			b.WriteByte('-')
		}
	}
	valid := b.String()
	valid = strings.Trim(valid[:min(len(valid), maxName)], "-.")
	if valid == "" {
		return fallback
	}
	return valid
}

// name gives each policy of a kind a name of its own: web, web-2.
func name(list []Policy) {
	taken := map[[2]string]bool{}
	for i := range list {
		p := &list[i]
		name := p.Source.Name
		for n := 2; taken[[2]string{p.Kind, p.Source.Name}]; n++ {
			p.Source.Name = name + "-" + strconv.Itoa(n)
		}
		taken[[2]string{p.Kind, p.Source.Name}] = true
	}
}
