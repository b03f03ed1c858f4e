package vztest

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// vzlistFields has some fields of field_names in src/vzlist.c of vzctl.
var vzlistFields = map[string]struct {
	header string
	get    func(*Node, *container) string
}{
	"ctid":        {"CTID", func(_ *Node, c *container) string { return c.ID }},
	"veid":        {"CTID", func(_ *Node, c *container) string { return c.ID }},
	"uuid":        {"UUID", func(n *Node, c *container) string { return n.confField(c, "UUID") }},
	"status":      {"STATUS", func(_ *Node, c *container) string { return c.status }},
	"name":        {"NAME", func(n *Node, c *container) string { return n.confField(c, "NAME") }},
	"smart_name":  {"SMARTNAME", func(n *Node, c *container) string { return n.confField(c, "NAME") }},
	"description": {"DESCRIPTION", func(*Node, *container) string { return "-" }},
	"hostname":    {"HOSTNAME", func(*Node, *container) string { return "-" }},
	"private":     {"PRIVATE", func(_ *Node, c *container) string { return "/vz/private/" + c.ID }},
	"root":        {"ROOT", func(_ *Node, c *container) string { return "/vz/root/" + c.ID }},
	"netfilter":   {"NETFILTER", func(n *Node, c *container) string { return n.savedLevel(c) }},
}

// confField returns a value of a container's ve.conf as vzlist prints it: "-" if there is none.
func (n *Node) confField(c *container, key string) string {
	value, _ := n.conf(c.ID).get(key)
	return cmp.Or(value, "-")
}

// savedLevel models nf2str of src/vzlist.c, which prints the saved level, never the live one.
func (n *Node) savedLevel(c *container) string {
	level := n.confField(c, "NETFILTER")
	if _, known := levelMasks[level]; !known {
		return "-"
	}
	return level
}

// vzlist models main of src/vzlist.c of vzctl. It reads files of the node, needs no dispatcher,
// and takes no lock.
func (n *Node) vzlist(out, errs *output, args []string) int {
	o := parseOptions(args, "-o --output -s --sort -N --name_filter", "-a --all -S --stopped -H --no-header -j --json -L --list")
	switch {
	case o.unknown != "":
		errs.printf("vzlist: unrecognized option '%s'\nUsage: vzlist [-a | -S] [-n] [-H] [-o field[,field...] | -1] [-j]\n", o.unknown)
		return 1
	case o.given("-L", "--list"):
		for _, field := range n.knownFields() {
			out.printf("%-15s %-15s\n", field, vzlistFields[field].header)
		}
		return 0
	}
	fields := strings.Split(cmp.Or(o.value("-o", "--output"), "ctid,status,hostname"), ",")
	for _, field := range fields {
		if !slices.Contains(n.knownFields(), field) {
			errs.printf("Unknown field: %s\n", field)
			return 1
		}
	}
	list, ok := n.vzlistSelect(&o)
	if !ok {
		errs.printf("Container is not found\n")
		return 1
	}
	if o.given("-j", "--json") {
		n.vzlistJSON(out, list, fields)
		return 0
	}
	n.vzlistText(out, list, fields, !o.given("-H", "--no-header"))
	return 0
}

// knownFields returns the names of the fields, sorted. VHS 9 has no field netfilter.
func (n *Node) knownFields() []string {
	fields := slices.Sorted(maps.Keys(vzlistFields))
	return slices.DeleteFunc(fields, func(f string) bool { return f == "netfilter" && n.noMasks })
}

// vzlistSelect returns the containers to list, sorted by CTID: the running ones, with -S the
// others, with -a all. A ve.conf without a private area, which vzctl set creates for an unused
// CTID, is not a container (get_ve_list: ENV_STATUS_EXISTS). vzlist does not distinguish
// templates. ok is false if no container has the CTID or name of an operand.
func (n *Node) vzlistSelect(o *options) (list []*container, ok bool) {
	for _, c := range n.containers {
		runs := c.status == nf.StateRunning || c.status == nf.StatePaused
		switch {
		case c.VM:
		case len(o.operands) > 0 && !slices.Contains(o.operands, c.ID) && !slices.Contains(o.operands, c.Name):
		case o.given("-S", "--stopped") && c.status == nf.StateRunning:
		case runs || len(o.operands) > 0 || o.given("-a", "--all", "-S", "--stopped"):
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *container) int { return cmp.Compare(a.ID, b.ID) })
	return list, len(list) > 0 || len(o.operands) == 0
}

// vzlistJSON prints strings without escaping them (print_json_str, src/vzlist.c): with a
// quotation mark in a name the output is not JSON.
func (n *Node) vzlistJSON(out *output, list []*container, fields []string) {
	out.printf("[")
	for i, c := range list {
		if i > 0 {
			out.printf(",")
		}
		out.printf("\n  {")
		for j, field := range fields {
			if j > 0 {
				out.printf(",")
			}
			out.printf("\n    \"%s\": \"%s\"", field, vzlistFields[field].get(n, c))
		}
		out.printf("\n  }")
	}
	out.printf("\n]\n")
}

func (n *Node) vzlistText(out *output, list []*container, fields []string, header bool) {
	var lines [][]string
	if header {
		var names []string
		for _, field := range fields {
			names = append(names, vzlistFields[field].header)
		}
		lines = append(lines, names)
	}
	for _, c := range list {
		var values []string
		for _, field := range fields {
			values = append(values, vzlistFields[field].get(n, c))
		}
		lines = append(lines, values)
	}
	for _, values := range lines {
		var line output
		for _, value := range values {
			line.printf("%36s ", value)
		}
		out.printf("%s\n", strings.TrimRight(line.String(), " "))
	}
}
