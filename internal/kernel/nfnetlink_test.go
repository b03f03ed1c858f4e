package kernel

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// message returns a netlink message (netlink(7)).
func message(kind, flags uint16, data ...byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(binary.NativeEndian.AppendUint16(b, flags), make([]byte, 8)...)
	return append(append(b, data...), make([]byte, (4-len(data)%4)%4)...)
}

func TestAppendAnswers(t *testing.T) {
	const kind = unix.NFNL_SUBSYS_NFTABLES << 8
	more := message(kind, unix.NLM_F_MULTI, 10, 0, 0, 0, 'a', 'b', 'c', 'd')
	for _, test := range []struct {
		name string
		part []byte
		list int
		done bool
		err  error
	}{
		{"part of a dump", slices.Concat(more, more), 2, false, nil},
		{"its end", message(unix.NLMSG_DONE, unix.NLM_F_MULTI, 0, 0, 0, 0), 0, true, nil},
		{"its end without a number", message(unix.NLMSG_DONE, unix.NLM_F_MULTI), 0, true, nil},
		{"both", slices.Concat(more, message(unix.NLMSG_DONE, unix.NLM_F_MULTI, 0, 0, 0, 0)), 1, true, nil},
		{"a single answer", message(kind, 0, 10, 0, 0, 0), 1, true, nil},
		// netlink_dump_done in net/netlink/af_netlink.c has an error of the dump here.
		{"an end with an error", message(unix.NLMSG_DONE, unix.NLM_F_MULTI, 0xf4, 0xff, 0xff, 0xff), 0, true, unix.ENOMEM},
		{"an error", message(unix.NLMSG_ERROR, 0, 0xff, 0xff, 0xff, 0xff), 0, true, unix.EPERM},
		{"an error without a number", message(unix.NLMSG_ERROR, 0), 0, true, errMalformed},
		// nl_dump_check_consistent in include/net/netlink.h marks a dump during which
		// something has changed.
		{"an interrupted dump", slices.Concat(more, message(kind, unix.NLM_F_MULTI|unix.NLM_F_DUMP_INTR, 10, 0, 0, 0)), 1, true, errInterrupted},
		{"one marked at its end", message(unix.NLMSG_DONE, unix.NLM_F_MULTI|unix.NLM_F_DUMP_INTR), 0, true, errInterrupted},
		{"three bytes", message(kind, 0, 10, 0, 0), 0, true, errMalformed},
		{"no message", nil, 0, false, errMalformed},
		{"half a header", more[:10], 0, false, errMalformed},
	} {
		list, done, err := appendAnswers(nil, test.part)
		if len(list) != test.list || done != test.done && err == nil || !errors.Is(err, test.err) {
			t.Errorf("%s: %+v, done %v, %v", test.name, list, done, err)
		}
	}
	list, _, _ := appendAnswers(nil, more)
	if list[0].family != 10 || string(list[0].attributes) != "abcd" {
		t.Errorf("%+v", list)
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
