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

// moduleParameters returns the types of the parameters that a module's file offers, by
// their names with _ for -. The kernel ignores an unknown parameter without an error, so they are read
// before the load. Most are "parmtype=NAME:TYPE" in the section .modinfo, but not those
// with their own setter, such as hashsize of nf_conntrack, whose type is empty; all have
// a symbol __param_NAME (include/linux/moduleparam.h). For a module without symbols the
// result is nil: unknown.
func moduleParameters(file []byte) (types map[string]string, err error) {
	defer func() { // debug/elf may panic on a damaged file
		if r := recover(); r != nil {
			types, err = nil, fmt.Errorf("cannot read its ELF sections: %v", r)
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
	types = parseModinfo(data)
	for _, s := range symbols {
		if name, ok := strings.CutPrefix(s.Name, "__param_"); ok {
			name = nf.NormalizeModule(name)
			types[name] += "" // keeps the type that .modinfo has
		}
	}
	maps.DeleteFunc(types, func(name, _ string) bool { return !isName(name) })
	return types, nil
}

// offers lists the parameters that the file of a module offers, sorted; nil if that is
// unknown.
func offers(path string) ([]string, error) {
	data, err := readModule(path)
	if err != nil {
		return nil, err
	}
	types, err := moduleParameters(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if types == nil {
		return nil, nil
	}
	names := slices.AppendSeq([]string{}, maps.Keys(types)) // not nil: a module without parameters is known to take none
	slices.Sort(names)
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

// parseModinfo returns the types of the parameters in a section .modinfo.
func parseModinfo(data []byte) map[string]string {
	types := map[string]string{}
	for record := range bytes.SplitSeq(data, []byte{0}) {
		if rest, ok := bytes.CutPrefix(record, []byte("parmtype=")); ok {
			name, kind, _ := bytes.Cut(rest, []byte(":"))
			types[nf.NormalizeModule(string(name))] = string(kind)
		}
	}
	return types
}
