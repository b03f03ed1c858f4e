package source

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/sys/unix"
)

// readableHosts returns a copy of a known_hosts file in which each line that cannot be read
// is empty, and what is wrong with these lines. ssh skips such lines too (hostfile.c of OpenSSH): other
// programs, and older and newer versions of ssh, write them. A file that has no other line
// is an error.
func readableHosts(name string, data []byte) (readable []byte, skipped []string, err error) {
	if parseHosts(data) == nil {
		return data, nil, nil
	}
	usable := false
	for i, line := range bytes.SplitAfter(data, []byte("\n")) {
		if err := parseHosts(line); err != nil {
			skipped = append(skipped, fmt.Sprintf("%s:%d: %s", name, i+1, clean(err.Error())))
			line = []byte("\n")
		} else if text := bytes.TrimSpace(line); len(text) > 0 && text[0] != '#' {
			usable = true
		}
		readable = append(readable, line...)
	}
	if !usable {
		return nil, nil, fmt.Errorf("no line of the known_hosts file can be read: %s", skipped[0])
	}
	return readable, skipped, nil
}

// parseHosts returns why a known_hosts file with this content cannot be read.
func parseHosts(content []byte) error {
	file, err := memoryFile(content)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err = knownhosts.NewDB(file.Name()); err == nil {
		return nil
	}
	// The parser begins with its own name and the place in the file.
	text := strings.TrimPrefix(err.Error(), "knownhosts: ")
	return errors.New(strings.TrimPrefix(text, file.Name()+":1: "))
}

// memoryFile returns a new file in memory with this content: the parser of known_hosts takes
// names of files only. The caller closes it.
func memoryFile(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("known_hosts", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make a file in memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd))
	if _, err := file.Write(content); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
