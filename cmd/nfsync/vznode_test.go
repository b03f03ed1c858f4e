package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"nfsync.dev/nfsync/internal/host"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// scriptTB makes a simulated node fail, and end with, the script that made it.
type scriptTB struct {
	testing.TB
	ts *testscript.TestScript
}

func (s scriptTB) Helper()                      {}
func (s scriptTB) Cleanup(f func())             { s.ts.Defer(f) }
func (s scriptTB) Fatal(args ...any)            { s.ts.Fatalf("%s", fmt.Sprint(args...)) }
func (s scriptTB) Fatalf(f string, args ...any) { s.ts.Fatalf(f, args...) }

// virtuozzoKey is where a script keeps its simulated node.
type virtuozzoKey struct{}

type virtuozzo struct {
	*vztest.Node
	ends []func() // of what misbehaves
}

// vznode makes a simulated node of Virtuozzo and does with it what an admin
// does, or misfortune:
//
//	vznode new                          hn-1 has Virtuozzo from now on
//	vznode add ID [field=value...]      a container: name, saved, state, mask, uuid, registered
//	vznode start|stop|suspend|resume|restart|remove ID
//	vznode lock|unlock|swallow ID       its lock; the mask of its starts
//	vznode break|mend ID                its starts fail; they do not
//	vznode dispatcher stop|start
//	vznode hang|fail PROGRAM VERB       until vznode heal
//	vznode hung                         waits until one more call hangs
//	vznode print PROGRAM VERB TEXT      as its whole output, until vznode heal
//	vznode masks gone                   the kernel keeps no levels
//	vznode changes                      prints the calls that were not listings, since the last time, or none; saves in a row by container
//	vznode level ID                     prints state, live mask as a level and saved level
func vznode(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 2 && args[0] != "new" && args[0] != "heal" && args[0] != "changes" && args[0] != "hung" {
			ts.Fatalf("usage: vznode what [arguments...]")
		}
		v := ts.Value(virtuozzoKey{}).(*virtuozzo)
		if args[0] == "new" {
			v.Node = vztest.New(scriptTB{t, ts})
			ts.Setenv("VZROOT", v.Root())
			return
		}
		doing, ok := vzVerbs[args[0]]
		if !ok {
			ts.Fatalf("unknown verb %s", args[0])
		}
		doing(ts, v, args[1:])
	}
}

var vzVerbs = map[string]func(ts *testscript.TestScript, v *virtuozzo, args []string){
	"add":     func(ts *testscript.TestScript, v *virtuozzo, args []string) { v.Add(vzContainer(ts, args)) },
	"start":   func(_ *testscript.TestScript, v *virtuozzo, args []string) { v.Start(args[0]) },
	"stop":    func(_ *testscript.TestScript, v *virtuozzo, args []string) { v.Stop(args[0]) },
	"suspend": func(_ *testscript.TestScript, v *virtuozzo, args []string) { v.Suspend(args[0]) },
	"resume":  func(_ *testscript.TestScript, v *virtuozzo, args []string) { v.Resume(args[0]) },
	"restart": func(_ *testscript.TestScript, v *virtuozzo, args []string) { v.Restart(args[0]) },
	"remove":  func(_ *testscript.TestScript, v *virtuozzo, args []string) { v.Remove(args[0]) },
	"lock":    func(_ *testscript.TestScript, v *virtuozzo, args []string) { v.Lock(args[0], true) },
	"unlock":  func(_ *testscript.TestScript, v *virtuozzo, args []string) { v.Lock(args[0], false) },
	"swallow": func(_ *testscript.TestScript, v *virtuozzo, args []string) { v.RefuseMask(args[0], true) },
	"break":   func(_ *testscript.TestScript, v *virtuozzo, args []string) { v.FailStart(args[0], true) },
	"mend":    func(_ *testscript.TestScript, v *virtuozzo, args []string) { v.FailStart(args[0], false) },
	"dispatcher": func(_ *testscript.TestScript, v *virtuozzo, args []string) {
		if args[0] == "stop" {
			v.StopDispatcher()
		} else {
			v.StartDispatcher()
		}
	},
	"hang": func(_ *testscript.TestScript, v *virtuozzo, args []string) {
		v.ends = append(v.ends, v.Misbehave(vztest.Fault{Program: args[0], Verb: args[1], Hang: true}))
	},
	"fail": func(_ *testscript.TestScript, v *virtuozzo, args []string) {
		v.ends = append(v.ends, v.Misbehave(vztest.Fault{Program: args[0], Verb: args[1], Skip: true, Exit: 3, Stderr: "it does not work\n"}))
	},
	"hung": func(ts *testscript.TestScript, v *virtuozzo, _ []string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if !v.AwaitHang(ctx) {
			ts.Fatalf("no call hangs")
		}
	},
	"print": func(_ *testscript.TestScript, v *virtuozzo, args []string) {
		v.ends = append(v.ends, v.Misbehave(vztest.Fault{Program: args[0], Verb: args[1], Stdout: args[2]}))
	},
	"heal": func(_ *testscript.TestScript, v *virtuozzo, _ []string) {
		for _, end := range v.ends {
			end()
		}
		v.ends = nil
	},
	"masks": func(_ *testscript.TestScript, v *virtuozzo, _ []string) { v.RemoveMasks() },
	"changes": func(ts *testscript.TestScript, v *virtuozzo, _ []string) {
		changes := slices.DeleteFunc(v.Calls(), func(call []string) bool { return call[0] == "vzlist" || call[1] == "list" })
		sortSaves(changes)
		for _, call := range changes {
			fmt.Fprintln(ts.Stdout(), strings.Join(call, " "))
		}
		if len(changes) == 0 {
			fmt.Fprintln(ts.Stdout(), "none")
		}
		v.ForgetCalls()
	},
	"level": func(ts *testscript.TestScript, v *virtuozzo, args []string) {
		live := "none"
		if v.State(args[0]) == nf.StateRunning {
			live = nf.MaskValue(v.Mask(args[0])).String()
		}
		fmt.Fprintf(ts.Stdout(), "%s %s, saved %s\n", v.State(args[0]), live, v.Saved(args[0]))
	},
}

// sortSaves sorts the calls in a row that save levels by their container: they are made side
// by side.
func sortSaves(calls [][]string) {
	for first := 0; first < len(calls); {
		end := first
		for end < len(calls) && calls[end][1] == "set" {
			end++
		}
		slices.SortStableFunc(calls[first:end], func(a, b []string) int {
			return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[2], b[2]))
		})
		first = max(end, first+1)
	}
}

func vzContainer(ts *testscript.TestScript, args []string) vztest.Container {
	c := vztest.Container{ID: args[0], State: nf.StateRunning}
	for _, field := range args[1:] {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "name":
			c.Name = value
		case "saved":
			c.Saved = value
		case "state":
			c.State = value
		case "uuid":
			c.UUID = value
		case "registered":
			c.Unregistered = value == "no"
		case "mask":
			mask, ok := nf.Text(value).As(nf.KeyLevel).Mask()
			if !ok {
				ts.Fatalf("no level is %s", value)
			}
			c.Mask = &mask
		default:
			ts.Fatalf("a container has no field %s", name)
		}
	}
	return c
}

// onVirtuozzo are the flags of hn-1 where its script has made it one of
// Virtuozzo's.
func onVirtuozzo() []string {
	if root := os.Getenv("VZROOT"); root != "" {
		return []string{"--vz-root", root}
	}
	return nil
}

// impatient bounds the programs of Virtuozzo by what the script says, in seconds.
func impatient(c host.Config) host.Config {
	if seconds, err := strconv.Atoi(os.Getenv("PATIENCE")); err == nil {
		bound := time.Duration(seconds) * time.Second
		c.VZTimeouts.List, c.VZTimeouts.Set, c.VZTimeouts.Restart = bound, bound, bound
	}
	return c
}

// vzin runs a program in a container's network namespace: vzin 101 nft …
func vzin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: vzin ID command [args...]")
	}
	pid := ts.Value(virtuozzoKey{}).(*virtuozzo).Pid(args[0])
	ts.Check(ts.Exec("nsenter", append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", pid)}, args[1:]...)...))
}
