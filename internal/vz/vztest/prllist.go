package vztest

import (
	"cmp"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// prlctlList models PrlSrv::list_vm (src/PrlList.cpp).
func (n *Node) prlctlList(out, errs *output, args []string) int {
	o := parseOptions(args[1:], "-o --output -s --sort --vmtype", "-a --all -L -S --stopped -t --template -j --json -i --info -f --full -H --no-header")
	if o.unknown != "" {
		errs.printf("Unrecognized option: %s\n", o.unknown)
		return prlUsage
	}
	if o.given("-L") {
		for _, f := range prlFields {
			if !f.hidden {
				out.printf("%-20s %s\n", f.name, f.header)
			}
		}
		return 0
	}
	fields, unknown := findFields(cmp.Or(o.value("-o", "--output"), "uuid,status,ip_configured,type,name"))
	if unknown != "" && !o.given("-i", "--info") {
		errs.printf("Unknown field: %s\n", unknown)
		return prlUsage
	}
	list := n.prlSelect(&o, errs)
	switch {
	case list == nil:
		return prlError
	case o.given("-i", "--info"):
		n.prlInfo(out, list, o.given("-f", "--full"), o.given("-j", "--json"))
	case o.given("-j", "--json"):
		n.prlJSON(out, list, fields)
	default:
		n.prlText(out, list, fields, !o.given("-H", "--no-header"))
	}
	return 0
}

// prlSelect returns the containers and virtual machines to list: the running ones, all with
// -a, and templates only with -t. They are sorted by the first field of -o, or by name. It
// returns nil if the one that the operand names does not exist.
func (n *Node) prlSelect(o *options, errs *output) []*container {
	if len(o.operands) > 0 {
		if c := n.registered(o.operands[0], errs); c != nil {
			return []*container{c}
		}
		return nil
	}
	kind := o.value("--vmtype")
	list := []*container{}
	for _, c := range n.containers {
		switch {
		case c.Unregistered, c.Template != o.given("-t", "--template"):
		case kind == "ct" && c.VM, kind == "vm" && !c.VM:
		case o.given("-a", "--all", "-t", "--template", "-i", "--info") || n.prlState(c) == nf.StateRunning:
			list = append(list, c)
		}
	}
	by := n.prlName
	if strings.HasPrefix(o.value("-o", "--output"), "uuid") {
		by = func(c *container) string { return c.UUID }
	}
	slices.SortFunc(list, func(a, b *container) int { return cmp.Compare(by(a), by(b)) })
	return list
}

// prlEscape escapes the characters that src/PrlOutFormatter.cpp escapes. It leaves other
// control characters as they are, so that the output is not JSON.
var prlEscape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\b", `\b`, "\f", `\f`, "\r", `\r`)

// prlJSON writes JSON by hand, as src/PrlOutFormatter.cpp does.
func (n *Node) prlJSON(out *output, list []*container, fields []prlField) {
	out.printf("[")
	for i, c := range list {
		if i > 0 {
			out.printf(",")
		}
		out.printf("\n\t{")
		for j, f := range fields {
			value := f.get(n, c)
			if f.name == "uuid" {
				value = strings.Trim(value, "{}")
			}
			if j > 0 {
				out.printf(",")
			}
			out.printf("\n\t\t\"%s\": \"%s\"", f.name, prlEscape.Replace(cmp.Or(value, "-")))
		}
		out.printf("\n\t}")
	}
	out.printf("\n]\n")
}

func (n *Node) prlText(out *output, list []*container, fields []prlField, header bool) {
	if header {
		for _, f := range fields {
			out.printf("%-39s ", f.header)
		}
		out.printf("\n")
	}
	for _, c := range list {
		for _, f := range fields {
			out.printf("%-39s ", cmp.Or(f.get(n, c), "-"))
		}
		out.printf("\n")
	}
}

// prlInfo models a part of PrlVm::append_configuration (src/PrlVm.cpp). With -f it has the level
// of a container, if one is saved.
func (n *Node) prlInfo(out *output, list []*container, full, asJSON bool) {
	if !asJSON {
		out.printf("INFO\n")
	} else {
		out.printf("[")
	}
	for i, c := range list {
		rows := n.prlRows(c, full)
		if !asJSON {
			for _, r := range rows {
				out.printf("%s: %s\n", r[0], r[1])
			}
			out.printf("\n")
			continue
		}
		if i > 0 {
			out.printf(",")
		}
		out.printf("\n\t{")
		for j, r := range rows {
			if j > 0 {
				out.printf(",")
			}
			out.printf("\n\t\"%s\": \"%s\"", r[0], prlEscape.Replace(r[1]))
		}
		out.printf("\n\t}")
	}
	if asJSON {
		out.printf("\n]\n")
	}
}

func (n *Node) prlRows(c *container, full bool) [][2]string {
	template := map[bool]string{true: "yes", false: "no"}
	rows := [][2]string{
		{"ID", c.UUID}, {"EnvID", c.ID}, {"Name", n.prlName(c)}, {"Description", ""}, {"Type", prlType(c)},
		{"State", n.prlState(c)}, {"OS", "centos7"}, {"Template", template[c.Template]}, {"Uptime", "0"},
		{"Home", "/vz/private/" + c.ID},
	}
	if full && !c.VM && !n.noMasks {
		if level := n.savedLevel(c); level != "-" {
			rows = append(rows, [2]string{"Netfilter", level})
		}
	}
	return rows
}
