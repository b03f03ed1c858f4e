package kernel

import (
	"errors"
	"testing"

	"github.com/mdlayher/netlink"
)

func TestParseAnswers(t *testing.T) {
	whole := netlink.Message{Header: netlink.Header{Flags: netlink.Multi}, Data: []byte{10, 0, 0, 0, 'a'}}
	if got, err := parseAnswers([]netlink.Message{whole}); err != nil || len(got) != 1 || got[0].family != 10 || string(got[0].attributes) != "a" {
		t.Errorf("%+v, %v", got, err)
	}
	// nl_dump_check_consistent in include/net/netlink.h marks a dump during
	// which something has changed.
	interrupted := whole
	interrupted.Header.Flags |= netlink.DumpInterrupted
	if _, err := parseAnswers([]netlink.Message{whole, interrupted}); !errors.Is(err, errInterrupted) {
		t.Errorf("an interrupted dump: %v, want %v", err, errInterrupted)
	}
	short := netlink.Message{Data: []byte{10, 0, 0}}
	if _, err := parseAnswers([]netlink.Message{short}); !errors.Is(err, errMalformed) {
		t.Errorf("three bytes: %v, want %v", err, errMalformed)
	}
}

func TestAttributes(t *testing.T) {
	for name, b := range map[string][]byte{
		"shorter than a header":        {8, 0, 1},
		"a length of zero":             {0, 0, 1, 0},
		"a length within the header":   {3, 0, 1, 0},
		"a length beyond the message":  {9, 0, 1, 0, 1, 2, 3, 4},
		"a remainder after the last":   {4, 0, 1, 0, 9},
		"a second one that is damaged": {4, 0, 1, 0, 255, 255, 1, 0},
	} {
		if _, err := parseFields(b, 1); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v, want %v", name, err, errMalformed)
		}
	}
	// The last one need not be padded, and the flags are no part of the type.
	if f, err := parseFields([]byte{5, 0, 1, 0x80, 'x', 0, 0, 0, 5, 0, 2, 0x40, 'y'}, 1, 2, 3); err != nil || f[0].text() != "x" || f[1].text() != "y" || f[2].data != nil {
		t.Errorf("%+v, %v", f, err)
	}
}
