package kernel

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

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
type nfnetlink struct {
	*netlink.Conn
	read   int    // bytes of answers so far
	buffer []byte // for one part of an answer
}

func openNfnetlink() (*nfnetlink, error) {
	// Without Config.NetNS the calling goroutine opens the socket, on the thread that
	// it is locked to.
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot open a netfilter netlink socket: %w", err)
	}
	return &nfnetlink{Conn: conn, buffer: make([]byte, partSize)}, nil
}

// partSize is the largest part of an answer that the kernel sends at once, in bytes. It
// uses the size of the buffer that it was asked with before (netlink_recvmsg and
// netlink_dump in net/netlink/af_netlink.c). For each part it passes over all that it has
// sent already, so that small parts take quadratic time.
const partSize = 32 << 10

// maxAnswers bounds the answers that are read over one socket, in bytes: some 300,000
// rules. A container decides how many it has.
const maxAnswers = 64 << 20

// nfMessage is one netfilter netlink message without its headers: the family of struct
// nfgenmsg, and attributes.
type nfMessage struct {
	family     uint8
	attributes []byte
}

// ask sends a request to a subsystem, with netlink.Dump for all its objects of one kind. The
// error is errInterrupted if the kernel marks the answer as inconsistent, and the cause of
// ctx if that is done.
func (n *nfnetlink) ask(ctx context.Context, flags netlink.HeaderFlags, subsystem, message, family uint8, attributes []byte) ([]nfMessage, error) {
	stop := context.AfterFunc(ctx, func() { _ = n.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err := n.Send(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(subsystem)<<8 | netlink.HeaderType(message), Flags: netlink.Request | flags},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, 0}, attributes...),
	})
	var answers []nfMessage
	for done := false; err == nil && !done; {
		var part []byte
		if part, err = n.receive(); err == nil {
			answers, done, err = appendAnswers(answers, part)
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return answers, err
}

// receive returns the next part of an answer.
func (n *nfnetlink) receive() ([]byte, error) {
	raw, err := n.SyscallConn()
	if err != nil {
		return nil, err
	}
	var size, flags int
	waitErr := raw.Read(func(fd uintptr) bool {
		size, _, flags, _, err = unix.Recvmsg(int(fd), n.buffer, nil, unix.MSG_DONTWAIT)
		return !errors.Is(err, unix.EAGAIN)
	})
	n.read += size
	switch err = cmp.Or(waitErr, err); {
	case err != nil:
		return nil, fmt.Errorf("netlink receive: %w", err)
	case flags&unix.MSG_TRUNC != 0:
		return nil, errMalformed
	case n.read > maxAnswers:
		return nil, fmt.Errorf("the kernel's answer has more than %d MiB", maxAnswers>>20)
	}
	return slices.Clone(n.buffer[:size]), nil
}

// beginBatch begins a batch of changes to the given generation of a subsystem
// (nfnetlink_rcv_batch in net/netfilter/nfnetlink.c).
func (n *nfnetlink) beginBatch(subsystem uint16, generation uint32) error {
	header := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, subsystem)
	_, err := n.Send(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: netlink.Request},
		Data:   append(header, numberAttribute(unix.NFNL_BATCH_GENID, generation)...),
	})
	return err
}

// appendAnswers adds the messages of one part of an answer, and reports whether it is the
// last part (netlink(7)).
func appendAnswers(list []nfMessage, part []byte) (_ []nfMessage, done bool, err error) {
	messages, err := syscall.ParseNetlinkMessage(part)
	if err != nil || len(messages) == 0 {
		return list, false, errMalformed
	}
	for _, m := range messages {
		switch {
		case m.Header.Flags&unix.NLM_F_DUMP_INTR != 0:
			return list, true, errInterrupted
		case m.Header.Type == unix.NLMSG_ERROR, m.Header.Type == unix.NLMSG_DONE:
			return list, true, endError(m)
		case len(m.Data) < nfgenmsgSize:
			return list, true, errMalformed
		}
		list = append(list, nfMessage{m.Data[0], m.Data[nfgenmsgSize:]})
		done = m.Header.Flags&unix.NLM_F_MULTI == 0
	}
	return list, done, nil
}

// endError returns the error of the message that ends an answer. Old kernels send none with
// NLMSG_DONE.
func endError(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		if m.Header.Type == unix.NLMSG_DONE {
			return nil
		}
		return errMalformed
	}
	if errno := int32(binary.NativeEndian.Uint32(m.Data)); errno != 0 {
		return fmt.Errorf("netlink receive: %w", unix.Errno(-errno))
	}
	return nil
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
