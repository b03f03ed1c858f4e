package vztest

import (
	"errors"
	"os"
	"strings"
)

// conf is a container's ve.conf, by the path of the real file.
type conf string

// conf finds a container's ve.conf, by the link if there is one: realpath in
// vzctl2_conf_save, lib/config.c of libvzctl.
func (n *Node) conf(id string) conf {
	path := n.path(confDir, id+".conf")
	if target, err := os.Readlink(path); err == nil {
		return conf(n.path(target))
	}
	return conf(path)
}

// parseLine is parse_line of lib/util.c of libvzctl: no more of a shell's syntax
// than comments and one pair of double quotes.
func parseLine(line string) (key, value string, ok bool) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", "", false
	}
	key, value, ok = strings.Cut(strings.TrimSuffix(line, `"`), "=")
	return key, strings.TrimPrefix(value, `"`), ok
}

// get is the value of a key, empty for none; of several lines the last counts
// (add_conf_data, lib/config.c).
func (c conf) get(key string) (string, error) {
	text, err := os.ReadFile(string(c))
	if err != nil {
		return "", err
	}
	found := ""
	for line := range strings.Lines(string(text)) {
		if k, value, ok := parseLine(line); ok && k == key {
			found = value
		}
	}
	return found, nil
}

// set saves a value: each line of the key in its place, a new key at the end,
// everything else as it is, by way of a file beside it (vzctl2_conf_save,
// lib/config.c). A file that does not exist is made.
func (c conf) set(key, value string) error {
	text, err := os.ReadFile(string(c))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var out strings.Builder
	stored := false
	for line := range strings.Lines(string(text)) {
		if k, _, ok := parseLine(line); ok && k == key {
			line, stored = key+`="`+value+"\"\n", true
		}
		out.WriteString(line)
	}
	if !stored {
		out.WriteString(key + `="` + value + "\"\n")
	}
	beside := string(c) + ".tmp"
	if err := os.WriteFile(beside, []byte(out.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(beside, string(c))
}
