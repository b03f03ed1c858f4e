// Floor does one thing that nfsync does, and nothing else. It prints what it has measured of itself
// without its start. Bench runs it. It is a program of its own so that its start is that of a small
// one.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/bench/bare"
)

// floors are what there is to do, with the arguments.
var floors = map[string]func(args []string) error{
	"apply": func(args []string) error { return bare.Apply(args[0], args[1], args[2]) }, // DIR KEY VALUE
	"plain": func(args []string) error { return bare.Plain(args[0], args[1]) },          // DIR KEY
	"scan":  func(args []string) error { return bare.Scan(args[0], args[1:]) },          // DIR KEY...
	"read":  readAll,                                                                    // KEY...
	"yaml":  parseAll,                                                                   // DIR
}

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(name string, args []string) error {
	if name == "hold" { // DIR KEY...: once, and then again for each line of standard input
		again, err := bare.Hold(args[0], args[1:])
		if err != nil {
			return err
		}
		return bare.Serve(again, os.Stdin, os.Stdout)
	}
	floor, ok := floors[name]
	if !ok {
		return fmt.Errorf("there is no floor %s", name)
	}
	own, err := bare.Timed(func() error { return floor(args) })
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(own)
}

// readAll reads sysctls of the namespace that it runs in.
func readAll(keys []string) error {
	for _, key := range keys {
		if _, err := bare.Read(key); err != nil {
			return err
		}
	}
	return nil
}

// parseAll parses the files of a directory.
func parseAll(args []string) error {
	files, err := os.ReadDir(args[0])
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(args[0], f.Name()))
		if err != nil {
			return err
		}
		var n yaml.Node
		if err := yaml.Unmarshal(text, &n); err != nil {
			return err
		}
	}
	return nil
}
