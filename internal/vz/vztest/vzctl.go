package vztest

import (
	"errors"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// The exit statuses of vzctl (lib/vzerror.h of libvzctl, vzctl(8)).
const (
	vzSystem     = 3
	vzLocked     = 9
	vzNoConfig   = 14
	vzRestore    = 17
	vzBadOption  = 20
	vzBadValue   = 21
	vzNotRunning = 31
	vzRunning    = 32
	vzConfSave   = 139
)

const notRunning = "Container is not running"

// vzctl models main of src/vzctl.c. It needs no dispatcher.
func (n *Node) vzctl(out, errs *output, args []string) int {
	aliases := map[string]string{
		"start": "start", "stop": "stop", "restart": "restart", "status": "status", "set": "set",
		"suspend": "suspend", "chkpnt": "suspend", "resume": "resume", "restore": "resume",
	}
	switch {
	case len(args) == 0:
		errs.printf("Usage: vzctl [options] <command> <ctid> [parameters]\n")
		return vzBadOption
	case aliases[args[0]] == "":
		errs.printf("Bad command: %s\n", args[0])
		return vzBadOption
	case len(args) < 2:
		errs.printf("ctid is not given\n")
		return vzBadValue
	}
	verb := aliases[args[0]]
	id, ok := n.ctid(args[1])
	if !ok {
		errs.printf("Invalid ctid is specified: %s\n", args[1])
		return vzBadValue
	}
	switch verb {
	case "set":
		return n.vzctlSet(out, errs, id, args[2:])
	case "status":
		return n.vzctlStatus(out, id)
	}
	c := n.configured(id)
	if c == nil {
		if verb == "stop" { // the only verb here that does not require the file
			errs.printf("%s\n", notRunning)
			return 0
		}
		errs.printf("Container configuration file does not exist\n")
		return vzNoConfig
	}
	return n.vzctlAction(out, errs, verb, c)
}

// ctid returns the CTID that an argument names. Any number or UUID is a CTID, even if no
// container has it. Anything else is the name of a container (vzctl2_parse_ctid,
// vzctl2_get_envid_by_name).
func (n *Node) ctid(arg string) (string, bool) {
	if strings.Trim(arg, "0123456789") == "" && arg != "" || isUUID(strings.Trim(arg, "{}")) {
		return strings.Trim(arg, "{}"), true
	}
	for _, c := range n.containers {
		if name, _ := n.conf(c.ID).get("NAME"); !c.VM && name == arg {
			return c.ID, true
		}
	}
	return "", false
}

// configured returns the container with that CTID; nil if there is none.
func (n *Node) configured(id string) *container {
	for _, c := range n.containers {
		if c.ID == id && !c.VM {
			return c
		}
	}
	return nil
}

// vzctlAction starts, stops, restarts, suspends or resumes a container.
func (n *Node) vzctlAction(out, errs *output, verb string, c *container) int {
	if c.locked {
		errs.printf("Cannot lock the Container\n")
		return vzLocked
	}
	act := map[string]func(*container) error{
		"start": n.start, "stop": n.stop, "restart": n.restart, "suspend": n.suspend, "resume": n.resume,
	}[verb]
	err := act(c)
	switch {
	case err == nil:
		out.printf("Container: %s done\n", verb)
		return 0
	case errors.Is(err, errNotRunning) && verb == "stop": // a message, but exit status 0 (lib/env.c of libvzctl)
		errs.printf("Unable to stop: %s\n", notRunning)
		return 0
	case errors.Is(err, errNotRunning):
		errs.printf("%s\n", notRunning)
		return vzNotRunning
	case errors.Is(err, errRunning):
		errs.printf("Container is already running\n")
		return vzRunning
	case errors.Is(err, errNoDump):
		errs.printf("Failed to restore the Container\n")
		return vzRestore
	}
	errs.printf("%v\n", err)
	return vzSystem
}

// vzctlStatus models Show of src/vzctl.c. It never fails.
func (n *Node) vzctlStatus(out *output, id string) int {
	c := n.configured(id)
	if c == nil {
		out.printf("CTID %s deleted unmounted down\n", id)
		return 0
	}
	words := map[string]string{
		nf.StateRunning: "mounted running", nf.StatePaused: "mounted running suspended", nf.StateMounted: "mounted down",
		nf.StateSuspended: "unmounted down suspended",
	}[c.status]
	if words == "" {
		words = "unmounted down"
	}
	out.printf("CTID %s exist %s\n", id, words)
	return 0
}

// vzctlSet models ACTION_SET of src/vzctl.c with vzctl2_apply_param of lib/env.c of libvzctl. It
// creates a ve.conf for a CTID that no container has.
func (n *Node) vzctlSet(out, errs *output, id string, args []string) int {
	known := "--netfilter"
	if n.noMasks {
		known = ""
	}
	o := parseOptions(args, known+" --setmode --name --onboot --iptables", "--save")
	if o.unknown != "" || len(o.operands) > 0 {
		errs.printf("vzctl: unrecognized option '%s'\n", o.unknown)
		return vzBadOption
	}
	level, given := o.flags["--netfilter"]
	if _, known := levelMasks[level]; given && !known {
		errs.printf("An incorrect netfilter: %s\nBad parameter for --netfilter: %s\n", level, level)
		return vzBadValue
	}
	c := n.configured(id)
	switch {
	case c != nil && c.locked:
		errs.printf("Cannot lock the Container\n")
		return vzLocked
	case o.value("--setmode") == "restart" && !o.given("--save"):
		errs.printf("It is not allowed to use restart mode without --save\n")
		return vzBadOption
	}
	code, restart := n.checkSetMode(errs, c, &o)
	// The values are saved even if the check failed.
	if !o.given("--save") {
		out.printf("WARNING: Settings were not saved. On next start the original values will be applied. Use --save to save the settings in the configuration file.\n")
	} else if err := n.saveOptions(id, &o); err != nil {
		errs.printf("%v\n", err)
		return vzConfSave
	} else {
		out.printf("Saved parameters for Container %s\n", id)
	}
	if restart {
		return n.vzctlAction(out, errs, "restart", c)
	}
	return code
}

// checkSetMode models check_setmode of lib/env.c. It compares the level with the saved one, not
// with the live one: --setmode restart restarts only if the saved level differs.
func (n *Node) checkSetMode(errs *output, c *container, o *options) (code int, restart bool) {
	level, given := o.flags["--netfilter"]
	if !given || c == nil || c.pid == 0 {
		return 0, false
	}
	if configured, _ := n.conf(c.ID).get("NETFILTER"); configured == level {
		return 0, false
	}
	errs.printf("Unable to set netfilter for the running Container\n")
	switch o.value("--setmode") {
	case "restart":
		return 0, true
	case "ignore":
		return vzRunning, false
	}
	errs.printf("WARNING: Some of the parameters could not be applied to a running container.\n\tPlease consider using --setmode option\n")
	return vzRunning, false
}

// saveOptions saves the values of the options that were given.
func (n *Node) saveOptions(id string, o *options) error {
	keys := map[string]string{"--netfilter": "NETFILTER", "--iptables": "IPTABLES", "--name": "NAME", "--onboot": "ONBOOT"}
	var errs []error
	for flag, key := range keys {
		if value, given := o.flags[flag]; given {
			errs = append(errs, n.conf(id).set(key, value))
		}
	}
	return errors.Join(errs...)
}
