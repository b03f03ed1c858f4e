package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// errInterrupted says that the rules changed while they were read.
var errInterrupted = errors.New("the rules changed while they were read")

// errMalformed says that an answer does not have the form of the kernel's headers.
var errMalformed = errors.New("malformed answer of the kernel")

// nfnetlink is a NETLINK_NETFILTER socket. It stays in the network namespace of the
// thread that opened it.
//
// Opening one, or asking a subsystem, loads the kernel's module for it: the caller makes
// sure that it is loaded already.
type nfnetlink struct{ *netlink.Conn }

func openNfnetlink() (nfnetlink, error) {
	// Without Config.NetNS the calling goroutine opens the socket, on the thread that
	// it is locked to.
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nfnetlink{}, fmt.Errorf("cannot open a netfilter netlink socket: %w", err)
	}
	return nfnetlink{conn}, nil
}

// nfMessage is one netfilter netlink message without its headers: the family of struct
// nfgenmsg, and attributes.
type nfMessage struct {
	family     uint8
	attributes []byte
}

// ask sends a request to a subsystem, with netlink.Dump for all its objects of one kind. The
// error is errInterrupted if the kernel marks the answer as inconsistent.
func (n nfnetlink) ask(flags netlink.HeaderFlags, subsystem, message, family uint8, attributes []byte) ([]nfMessage, error) {
	answers, err := n.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(subsystem)<<8 | netlink.HeaderType(message), Flags: netlink.Request | flags},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, 0}, attributes...),
	})
	if err != nil {
		return nil, err
	}
	return parseAnswers(answers)
}

// beginBatch begins a batch of changes to the given generation of a subsystem
// (nfnetlink_rcv_batch in net/netfilter/nfnetlink.c).
func (n nfnetlink) beginBatch(subsystem uint16, generation uint32) error {
	header := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, subsystem)
	_, err := n.Send(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: netlink.Request},
		Data:   append(header, numberAttribute(unix.NFNL_BATCH_GENID, generation)...),
	})
	return err
}

func parseAnswers(answers []netlink.Message) ([]nfMessage, error) {
	list := make([]nfMessage, 0, len(answers))
	for _, a := range answers {
		if a.Header.Flags&netlink.DumpInterrupted != 0 {
			return nil, errInterrupted
		}
		if len(a.Data) < nfgenmsgSize {
			return nil, errMalformed
		}
		list = append(list, nfMessage{a.Data[0], a.Data[nfgenmsgSize:]})
	}
	return list, nil
}

// nfgenmsgSize is the size of struct nfgenmsg (linux/netfilter/nfnetlink.h).
const nfgenmsgSize = 4

// Sizes and flags of struct nlattr (linux/netlink.h).
const (
	nlaHeader   = 4
	nlaTypeMask = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
)

// attribute is one netlink attribute.
type attribute struct {
	kind uint16
	data []byte
}

// attributes returns a list of netlink attributes. Bytes that are no attribute are
// errMalformed, so that they do not pass for an empty list.
func attributes(b []byte) ([]attribute, error) {
	var list []attribute
	for len(b) > 0 {
		if len(b) < nlaHeader {
			return nil, errMalformed
		}
		size := int(binary.NativeEndian.Uint16(b))
		if size < nlaHeader || size > len(b) {
			return nil, errMalformed
		}
		list = append(list, attribute{binary.NativeEndian.Uint16(b[2:]) & nlaTypeMask, b[nlaHeader:size]})
		b = b[min((size+3)&^3, len(b)):]
	}
	return list, nil
}

// parseFields returns attributes by kind; a missing one has no data.
func parseFields(b []byte, kinds ...uint16) ([]attribute, error) {
	list, err := attributes(b)
	found := make([]attribute, len(kinds))
	for _, a := range list {
		if i := slices.Index(kinds, a.kind); i >= 0 {
			found[i] = a
		}
	}
	return found, err
}

// numberAttribute returns an attribute whose value is a big-endian 32-bit number.
func numberAttribute(kind uint16, n uint32) []byte {
	b := binary.NativeEndian.AppendUint16(nil, nlaHeader+4)
	b = binary.NativeEndian.AppendUint16(b, kind)
	return binary.BigEndian.AppendUint32(b, n)
}

// text returns the value as a string, without the NUL at its end.
func (a attribute) text() string { return unix.ByteSliceToString(a.data) }

// number returns the value as a big-endian 32-bit number.
func (a attribute) number() (uint32, error) {
	if len(a.data) != 4 {
		return 0, errMalformed
	}
	return binary.BigEndian.Uint32(a.data), nil
}
