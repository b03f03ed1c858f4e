package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// addTrackingRule makes, in the network namespace of the calling thread, what
//
//	nft 'table inet demo { chain input { type filter hook input priority 0; ct state established,related accept; }; }'
//
// makes: the demo must not depend on nft being installed. The messages are
// those of include/uapi/linux/netfilter/nf_tables.h, sent as one batch.
func addTrackingRule() error {
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	timeout := unix.NsecToTimeval(int64(5 * time.Second))
	if err := unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return err
	}
	if err := unix.Sendto(socket, trackingRule(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	return acknowledged(socket)
}

// trackingRule is the batch of messages. Only the last one is acknowledged;
// an error of any of them is told.
func trackingRule() []byte {
	const table, chain = "demo", "input"
	nft := func(message uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | message }
	batch := join(
		message(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES),
		message(nft(unix.NFT_MSG_NEWTABLE), unix.NLM_F_CREATE, unix.NFPROTO_INET, 0,
			text(unix.NFTA_TABLE_NAME, table)),
		message(nft(unix.NFT_MSG_NEWCHAIN), unix.NLM_F_CREATE, unix.NFPROTO_INET, 0,
			text(unix.NFTA_CHAIN_TABLE, table), text(unix.NFTA_CHAIN_NAME, chain), text(unix.NFTA_CHAIN_TYPE, "filter"),
			nested(unix.NFTA_CHAIN_HOOK, number(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_LOCAL_IN), number(unix.NFTA_HOOK_PRIORITY, 0))),
		message(nft(unix.NFT_MSG_NEWRULE), unix.NLM_F_CREATE|unix.NLM_F_APPEND|unix.NLM_F_ACK, unix.NFPROTO_INET, 0,
			text(unix.NFTA_RULE_TABLE, table), text(unix.NFTA_RULE_CHAIN, chain), nested(unix.NFTA_RULE_EXPRESSIONS, established()...)),
		message(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES),
	)
	return batch
}

// established is "ct state established,related accept": load the state, keep
// the two bits, go on if one is left.
func established() [][]byte {
	const bits = 1<<1 | 1<<2 // IP_CT_ESTABLISHED and IP_CT_RELATED of NF_CT_STATE_BIT
	value := func(attribute uint16, host uint32) []byte {
		return nested(attribute, attr(unix.NFTA_DATA_VALUE, binary.NativeEndian.AppendUint32(nil, host)))
	}
	return [][]byte{
		expression("ct", number(unix.NFTA_CT_DREG, unix.NFT_REG_1), number(unix.NFTA_CT_KEY, unix.NFT_CT_STATE)),
		expression("bitwise", number(unix.NFTA_BITWISE_SREG, unix.NFT_REG_1), number(unix.NFTA_BITWISE_DREG, unix.NFT_REG_1),
			number(unix.NFTA_BITWISE_LEN, 4), value(unix.NFTA_BITWISE_MASK, bits), value(unix.NFTA_BITWISE_XOR, 0)),
		expression("cmp", number(unix.NFTA_CMP_SREG, unix.NFT_REG_1), number(unix.NFTA_CMP_OP, unix.NFT_CMP_NEQ),
			value(unix.NFTA_CMP_DATA, 0)),
		expression("immediate", number(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
			nested(unix.NFTA_IMMEDIATE_DATA, nested(unix.NFTA_DATA_VERDICT, number(unix.NFTA_VERDICT_CODE, acceptVerdict)))),
	}
}

// acceptVerdict is NF_ACCEPT of include/uapi/linux/netfilter.h.
const acceptVerdict = 1

func expression(name string, attributes ...[]byte) []byte {
	return nested(unix.NFTA_LIST_ELEM, text(unix.NFTA_EXPR_NAME, name), nested(unix.NFTA_EXPR_DATA, attributes...))
}

// message is a netlink message with the header of nfnetlink.h: family,
// version, resource.
func message(kind, flags uint16, family uint8, resource uint16, attributes ...[]byte) []byte {
	body := binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, resource)
	body = append(body, join(attributes...)...)
	head := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	head = binary.NativeEndian.AppendUint16(head, kind)
	head = binary.NativeEndian.AppendUint16(head, unix.NLM_F_REQUEST|flags)
	head = append(head, make([]byte, 8)...) // sequence and port: one socket, one answer
	return append(head, body...)
}

func nested(kind uint16, attributes ...[]byte) []byte {
	return attr(unix.NLA_F_NESTED|kind, join(attributes...))
}

func text(kind uint16, s string) []byte { return attr(kind, append([]byte(s), 0)) }

func number(kind uint16, n uint32) []byte { return attr(kind, binary.BigEndian.AppendUint32(nil, n)) }

// attr is one attribute, padded to four bytes.
func attr(kind uint16, data []byte) []byte {
	head := binary.NativeEndian.AppendUint16(nil, uint16(unix.NLA_HDRLEN+len(data)))
	head = binary.NativeEndian.AppendUint16(head, kind)
	return append(append(head, data...), make([]byte, -len(data)&3)...)
}

func join(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// acknowledged reads the kernel's answer: the first error, or nil.
func acknowledged(socket int) error {
	buf := make([]byte, 8192)
	n, _, err := unix.Recvfrom(socket, buf, 0)
	if err != nil {
		return err
	}
	if n < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR {
		return errors.New("an answer of the kernel that is neither an error nor an acknowledgement")
	}
	if code := int32(binary.NativeEndian.Uint32(buf[unix.NLMSG_HDRLEN:])); code != 0 {
		return fmt.Errorf("the kernel does not take the rule: %w", unix.Errno(-code))
	}
	return nil
}
