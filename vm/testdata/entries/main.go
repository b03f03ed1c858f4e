// Entries reads a plan, a receipt or a snapshot of nfsync as JSON from standard
// input and prints one line for each entry, which the cases of the VM set match:
//
//	change TARGET KEY FROM -> TO[ one-way] (CAUSE)
//	refusal TARGET KEY CODE: REASON | REMEDY
//	pending TARGET KEY REASON
//	warning TARGET CODE: MESSAGE
//	summary CHANGES REFUSALS PENDING INSYNC         (only a plan)
//	recovered OUTCOME TARGET KEY: REASON
//	OUTCOME TARGET KEY FROM -> TO[: ERROR][ | REASON]
//	tracking TARGET STATE COUNT MAX                 (only a snapshot)
//
// A KEY of the boot layer has the prefix boot:.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

type target struct{ Kind, Name string }

func (t target) String() string {
	if t.Kind == "node" {
		return "node"
	}
	return t.Name
}

type entry struct {
	Target                                                    target
	Key, Layer, Code, Reason, Remedy, Message, Outcome, Error string
	Cause                                                     string
	From, To                                                  json.RawMessage
	OneWay                                                    bool
}

type namespace struct {
	Name     string
	Tracking *struct{ State string }
	Count    json.RawMessage
	Facts    []struct {
		Key  string
		Live json.RawMessage
	}
}

type document struct {
	Kind                                                     string
	Changes, Refusals, Pending, Warnings, Recovered, Results []entry
	Summary                                                  struct{ Changes, Refusals, Pending, InSync int }
	Host                                                     namespace
	Containers                                               []namespace
}

func main() {
	var d document
	if err := json.NewDecoder(os.Stdin).Decode(&d); err != nil {
		fmt.Fprintln(os.Stderr, "entries:", err)
		os.Exit(1)
	}
	for _, e := range d.Recovered {
		fmt.Printf("recovered %s %s %s: %s\n", e.Outcome, e.Target, e.key(), e.Reason)
	}
	for _, e := range d.Changes {
		fmt.Printf("change %s %s %s%s (%s)\n", e.Target, e.key(), e.values(), map[bool]string{true: " one-way"}[e.OneWay], e.Cause)
	}
	for _, e := range d.Results {
		fmt.Println(e.Outcome, e.Target, e.key(), e.values()+prefixed(": ", e.Error)+prefixed(" | ", e.Reason))
	}
	for _, e := range d.Refusals {
		fmt.Printf("refusal %s %s %s: %s | %s\n", e.Target, e.key(), e.Code, e.Reason, e.Remedy)
	}
	for _, e := range d.Pending {
		fmt.Println("pending", e.Target, e.key(), e.Reason)
	}
	for _, e := range d.Warnings {
		fmt.Printf("warning %s %s: %s\n", e.Target, e.Code, e.Message)
	}
	switch d.Kind {
	case "Plan":
		fmt.Println("summary", d.Summary.Changes, d.Summary.Refusals, d.Summary.Pending, d.Summary.InSync)
	case "NodeSnapshot":
		d.Host.Name = "node"
		for _, ns := range append([]namespace{d.Host}, d.Containers...) {
			ns.print()
		}
	}
}

func (n namespace) print() {
	limit, state := "absent", "unknown"
	if n.Tracking != nil {
		state = n.Tracking.State
	}
	for _, f := range n.Facts {
		if f.Key == "conntrack.max" {
			limit = text(f.Live)
		}
	}
	fmt.Println("tracking", n.Name, state, text(n.Count), limit)
}

func (e entry) key() string {
	if e.Layer == "boot" {
		return "boot:" + e.Key
	}
	return e.Key
}

func (e entry) values() string { return text(e.From) + " -> " + text(e.To) }

// text returns a JSON value without white space, and a string without its quotes.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil && s != "" {
		return s
	}
	return strings.Join(strings.Fields(string(raw)), "")
}

// prefixed returns the text after the prefix; nothing if there is no text.
func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}
