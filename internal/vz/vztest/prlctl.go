package vztest

import (
	"cmp"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// The exit statuses of prlctl (prlerr2exitcode, src/Utils.cpp). An error code that does not fit
// into a byte becomes 255.
const (
	prlUsage        = 1
	prlNoDispatcher = 253
	prlError        = 255
)

// prlctl models main of src/PrlCtl.cpp, which parses the command line before it connects to the
// dispatcher.
func (n *Node) prlctl(out, errs *output, args []string) int {
	if len(args) == 0 {
		errs.printf("Usage: prlctl ACTION <ID | NAME> [OPTIONS]\n")
		return prlUsage
	}
	verbs := map[string]func(out, errs *output, args []string) int{
		"list": n.prlctlList, "set": n.prlctlSet,
		"start": n.prlctlAction, "stop": n.prlctlAction, "restart": n.prlctlAction, "suspend": n.prlctlAction, "resume": n.prlctlAction,
	}
	verb := verbs[args[0]]
	if verb == nil {
		errs.printf("Unrecognized action: %s\n", args[0])
		return prlUsage
	}
	if args[0] != "list" { // even if the call fails
		errs.printf("WARNING: prlctl %s is deprecated and will be removed in one of the next releases.\n", args[0])
	}
	if n.dispatcherDown {
		errs.printf("Login failed: Unable to connect to the dispatcher. Make sure that it is running and try again.\n")
		return prlNoDispatcher
	}
	return verb(out, errs, args)
}

// registered finds a container or virtual machine of the dispatcher by its UUID, with or
// without braces, or by its name. A CTID counts only if it is also the name (main,
// src/PrlCtl.cpp; get_vm_config, src/PrlSrv.cpp).
func (n *Node) registered(id string, errs *output) *container {
	plain := strings.Trim(id, "{}")
	for _, c := range n.containers {
		if !c.Unregistered && (strings.EqualFold(c.UUID, plain) || n.prlName(c) == id) {
			return c
		}
	}
	errs.printf("Failed to get VM config: The virtual machine could not be found. The virtual machine is not registered in the virtual machine directory on your computer.\n")
	return nil
}

// prlName returns the dispatcher's name of a container: NAME= of its ve.conf, else its CTID.
func (n *Node) prlName(c *container) string {
	if c.VM {
		return cmp.Or(c.Name, c.ID)
	}
	name, _ := n.conf(c.ID).get("NAME")
	return cmp.Or(name, c.ID)
}

func (n *Node) prlState(c *container) string { return cmp.Or(c.transition, c.status, nf.StateStopped) }

func (n *Node) prlctlSet(out, errs *output, args []string) int {
	known := "--netfilter"
	if n.noMasks {
		known = ""
	}
	o := parseOptions(args[1:], known+" --name --description --onboot", "")
	if o.unknown != "" || len(o.operands) != 1 {
		errs.printf("Unrecognized option: %s\n", o.unknown)
		return prlUsage
	}
	level, given := o.flags["--netfilter"]
	if _, known := levelMasks[level]; given && !known {
		errs.printf("An incorrect netfilter mode ('%s') was specified.\n", level) // CMD_NETFILTER, src/CmdParam.cpp
		return prlUsage
	}
	c := n.registered(o.operands[0], errs)
	if c == nil {
		return prlError
	}
	if given {
		if code := n.prlctlNetfilter(errs, c, level); code != 0 {
			return code
		}
	}
	out.printf("The %s has been successfully configured.\n", prlType(c))
	return 0
}

// prlctlNetfilter models PrlVm::set_netfilter (src/PrlVm.cpp) and the dispatcher, which calls
// libvzctl. That saves the level of a paused container, and returns an error since it cannot
// apply it (CVzHelper.cpp of prl-disp-service).
func (n *Node) prlctlNetfilter(errs *output, c *container, level string) int {
	switch {
	case c.VM:
		errs.printf("Netfilter can be set for Containers only.\n")
		return prlError
	case n.prlState(c) == nf.StateRunning: // even if the level is the same
		errs.printf("Unable to set netfilter for the running Container.\n")
		return prlError
	case c.locked:
		errs.printf("Failed to apply CT configuration: PRL_ERR_OPERATION_FAILED\n")
		return prlError
	}
	if saved, _ := n.conf(c.ID).get("NETFILTER"); saved == level {
		return 0
	}
	if err := n.conf(c.ID).set("NETFILTER", level); err != nil {
		errs.printf("Failed to apply CT configuration: %v\n", err)
		return prlError
	}
	if c.pid != 0 {
		errs.printf("Failed to apply CT configuration: PRL_ERR_OPERATION_FAILED\n")
		return prlError
	}
	return 0
}

// prlctlAction starts, stops, restarts, suspends or resumes. It returns vzctl's exit status.
func (n *Node) prlctlAction(out, errs *output, args []string) int {
	o := parseOptions(args[1:], "", "--kill --noforce --fast --wait")
	if o.unknown != "" || len(o.operands) != 1 {
		errs.printf("Unrecognized option: %s\n", o.unknown)
		return prlUsage
	}
	c := n.registered(o.operands[0], errs)
	if c == nil {
		return prlError
	}
	if c.VM {
		errs.printf("Failed to %s the VM: not in this test\n", args[0])
		return prlError
	}
	done := map[string]string{"start": "started", "stop": "stopped", "restart": "restarted", "suspend": "suspended", "resume": "resumed"}
	var messages output
	if code := n.vzctlAction(&messages, &messages, args[0], c); code != 0 || args[0] == "stop" && strings.Contains(messages.String(), notRunning) {
		errs.printf("Failed to %s the CT: %s", args[0], messages.String())
		return code
	}
	out.printf("The CT has been successfully %s.\n", done[args[0]])
	return 0
}

// prlField is a field of prlctl list.
type prlField struct {
	name, header string
	hidden       bool // not listed by -L
	get          func(*Node, *container) string
}

// prlFields has some fields of vm_field_tbl of src/PrlList.cpp, in its order. None is the
// level. In JSON the field uuid has no braces; the other names of the UUID have them.
var prlFields = []prlField{
	{"uuid", "UUID", false, braced},
	{"id", "UUID", true, braced},
	{"ctid", "UUID", true, braced},
	{"veid", "UUID", true, braced},
	{"envid", "ENVID", false, func(_ *Node, c *container) string { return c.ID }},
	{"status", "STATUS", false, (*Node).prlState},
	{"name", "NAME", false, (*Node).prlName},
	{"description", "DESCRIPTION", false, func(*Node, *container) string { return "-" }},
	{"ip_configured", "IP_ADDR", false, func(*Node, *container) string { return "-" }},
	{"home", "HOME", false, func(_ *Node, c *container) string { return "/vz/private/" + c.ID }},
	{"type", "T", false, func(_ *Node, c *container) string { return prlType(c) }},
}

// findFields returns fields by their names, or the first unknown name.
func findFields(order string) (fields []prlField, unknown string) {
	for name := range strings.SplitSeq(order, ",") {
		i := slices.IndexFunc(prlFields, func(f prlField) bool { return f.name == name })
		if i < 0 {
			return nil, name
		}
		fields = append(fields, prlFields[i])
	}
	return fields, ""
}

func braced(_ *Node, c *container) string { return "{" + c.UUID + "}" }

func prlType(c *container) string {
	if c.VM {
		return "VM"
	}
	return "CT"
}
