package kernel

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// moduleParameters lists the parameters that a module's file offers, with _ for -,
// sorted. The kernel ignores an unknown parameter without an error, so they are read
// before the load. Most are "parmtype=NAME:TYPE" in the section .modinfo, but not those
// with their own setter, such as hashsize of nf_conntrack; all have a symbol
// __param_NAME (include/linux/moduleparam.h). For a module without symbols the list is
// nil: unknown.
func moduleParameters(file []byte) (names []string, err error) {
	defer func() { // debug/elf may panic on a damaged file
		if r := recover(); r != nil {
			names, err = nil, fmt.Errorf("cannot read its ELF sections: %v", r)
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("cannot read its ELF sections: %w", err)
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("it has no section .modinfo")
	}
	data, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("cannot read its section .modinfo: %w", err)
	}
	symbols, err := f.Symbols()
	if err != nil {
		return nil, nil // stripped: .modinfo does not have all
	}
	known := parseModinfo(data)
	for _, s := range symbols {
		if name, ok := strings.CutPrefix(s.Name, "__param_"); ok {
			known[nf.NormalizeModule(name)] = true
		}
	}
	maps.DeleteFunc(known, func(name string, _ bool) bool { return !isName(name) })
	names = slices.AppendSeq([]string{}, maps.Keys(known)) // not nil: a module without parameters is known to take none
	slices.Sort(names)
	return names, nil
}

// offers lists the parameters that the file of a module offers; nil if that is unknown.
func offers(path string) ([]string, error) {
	data, err := readModule(path)
	if err != nil {
		return nil, err
	}
	names, err := moduleParameters(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return names, nil
}

// takes lists the parameters that the file of a module offers; nil if that is unknown.
func (inv *inventory) takes(name string) []string {
	file, ok := inv.tree.files[name]
	if !ok {
		return nil
	}
	names, _ := offers(inv.tree.path(file))
	return names
}

func parseModinfo(data []byte) map[string]bool {
	known := map[string]bool{}
	for record := range bytes.SplitSeq(data, []byte{0}) {
		if rest, ok := bytes.CutPrefix(record, []byte("parmtype=")); ok {
			name, _, _ := bytes.Cut(rest, []byte(":"))
			known[nf.NormalizeModule(string(name))] = true
		}
	}
	return known
}
