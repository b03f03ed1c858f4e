package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"

	"nfsync.dev/nfsync/internal/nf"
)

// moduleParameters lists the parameters that a module's file offers, by their
// normalised names: "parmtype=NAME:TYPE" in the section .modinfo
// (include/linux/moduleparam.h). The kernel takes an unknown parameter without
// an error, so they have to be known before the load.
func moduleParameters(file []byte) (known map[string]bool, err error) {
	defer func() { // debug/elf is not meant for hostile input
		if r := recover(); r != nil {
			known, err = nil, fmt.Errorf("cannot read its ELF sections: %v", r)
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("cannot read its ELF sections: %w", err)
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("it has no section .modinfo")
	}
	data, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("cannot read its section .modinfo: %w", err)
	}
	return parseModinfo(data), nil
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
