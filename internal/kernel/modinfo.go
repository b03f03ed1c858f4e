package kernel

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// moduleParameters tells whether a module's file offers a parameter, by its
// normalised name. The kernel takes an unknown one without an error, so it has
// to be known before the load. Most parameters are "parmtype=NAME:TYPE" in the
// section .modinfo, but not those with a setter of their own, as nf_conntrack's
// hashsize; all have a symbol __param_NAME (include/linux/moduleparam.h). Of a
// module without symbols nothing can be said: every name is let through.
func moduleParameters(file []byte) (offers func(name string) bool, err error) {
	defer func() { // debug/elf is not meant for hostile input
		if r := recover(); r != nil {
			offers, err = nil, fmt.Errorf("cannot read its ELF sections: %v", r)
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
	known := parseModinfo(data)
	symbols, err := f.Symbols()
	if err != nil {
		return func(string) bool { return true }, nil
	}
	for _, s := range symbols {
		if name, ok := strings.CutPrefix(s.Name, "__param_"); ok {
			known[nf.NormalizeModule(name)] = true
		}
	}
	return func(name string) bool { return known[nf.NormalizeModule(name)] }, nil
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
