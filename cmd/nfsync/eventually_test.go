package main

import (
	"os/exec"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for what an agent does on a busy machine.
const patience = 90 * time.Second

// eventually runs a command again and again until its output matches:
// eventually '^51$' in node cat /proc/sys/net/netfilter/nf_conntrack_udp_timeout.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually regexp command [args...]")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	var out []byte
	tick := time.NewTicker(100 * time.Millisecond) // each try is a process
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		var err error
		out, err = inScript(ts, args[1:]).CombinedOutput()
		if want.Match(out) {
			return
		}
		if err != nil && len(out) == 0 {
			out = []byte(err.Error())
		}
	}
	ts.Fatalf("no output matches %q; the last one is:\n%s", args[0], out)
}

// inScript returns a command with the directory and the environment of a script.
func inScript(ts *testscript.TestScript, args []string) *exec.Cmd {
	if args[0] == "in" {
		path := "netns/" + args[1]
		if args[1] == "node" {
			path = "node"
		}
		args = append([]string{"nsenter", "--net=" + ts.MkAbs(path)}, args[2:]...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "WORK", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "NO_COLOR", "FAULT", "VZROOT", "INITIAL", "PATIENCE", "HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	return cmd
}
