package vztest

import (
	"errors"
	"os"
	"strings"
)

// conf is the path of a container's ve.conf, not of the link to it.
type conf string

// conf returns a container's ve.conf. It follows the link, as realpath in vzctl2_conf_save
// does (lib/config.c of libvzctl).
func (n *Node) conf(id string) conf {
	path := n.path(confDir, id+".conf")
	if target, err := os.Readlink(path); err == nil {
		return conf(n.path(target))
	}
	return conf(path)
}

// parseLine reads one line as parse_line does (lib/util.c of libvzctl): of the shell's syntax
// only comments and one pair of double quotes.
func parseLine(line string) (key, value string, ok bool) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", "", false
	}
	key, value, ok = strings.Cut(strings.TrimSuffix(line, `"`), "=")
	return key, strings.TrimPrefix(value, `"`), ok
}

// get returns the value of a key; empty if there is none. The last line of a key counts
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

// set saves a value, as vzctl2_conf_save does (lib/config.c): it replaces each line of the
// key, or adds one at the end, and leaves the other lines as they are. It writes a temporary
// file and renames it. A file that does not exist is created.
func (c conf) set(key, value string) error {
	text, err := os.ReadFile(string(c))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var out strings.Builder
	replaced := false
	for line := range strings.Lines(string(text)) {
		if k, _, ok := parseLine(line); ok && k == key {
			line, replaced = key+`="`+value+"\"\n", true
		}
		out.WriteString(line)
	}
	if !replaced {
		out.WriteString(key + `="` + value + "\"\n")
	}
	temporary := string(c) + ".tmp"
	if err := os.WriteFile(temporary, []byte(out.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, string(c))
}
