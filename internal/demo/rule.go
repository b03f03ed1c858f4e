package demo

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// addTrackingRule makes, in the network namespace of the calling thread, what
//
//	nft 'table inet demo { chain input { type filter hook input priority 0; ct state established,related accept; }; }'
//
// makes: the demo must not depend on nft being installed. The messages are
// those of include/uapi/linux/netfilter/nf_tables.h.
func addTrackingRule() error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.SendMessages(trackingRule()); err != nil {
		return err
	}
	if _, err := conn.Receive(); err != nil {
		return fmt.Errorf("the kernel does not take the rule: %w", err)
	}
	return nil
}

// trackingRule is one batch of messages, of which the rule is acknowledged.
func trackingRule() []netlink.Message {
	const table, chain, nft = "demo", "input", unix.NFNL_SUBSYS_NFTABLES << 8
	return []netlink.Message{
		message(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES),
		message(nft|unix.NFT_MSG_NEWTABLE, netlink.Create, unix.NFPROTO_INET, 0, text(unix.NFTA_TABLE_NAME, table)),
		message(nft|unix.NFT_MSG_NEWCHAIN, netlink.Create, unix.NFPROTO_INET, 0,
			text(unix.NFTA_CHAIN_TABLE, table), text(unix.NFTA_CHAIN_NAME, chain), text(unix.NFTA_CHAIN_TYPE, "filter"),
			nested(unix.NFTA_CHAIN_HOOK, number(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_LOCAL_IN), number(unix.NFTA_HOOK_PRIORITY, 0))),
		message(nft|unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append|netlink.Acknowledge, unix.NFPROTO_INET, 0,
			text(unix.NFTA_RULE_TABLE, table), text(unix.NFTA_RULE_CHAIN, chain), nested(unix.NFTA_RULE_EXPRESSIONS, established()...)),
		message(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES),
	}
}

// established is "ct state established,related accept": load the state, mask
// the two bits, go on if one is set.
func established() []netlink.Attribute {
	const bits = 1<<1 | 1<<2 // IP_CT_ESTABLISHED and IP_CT_RELATED of NF_CT_STATE_BIT
	const accept = 1         // NF_ACCEPT of include/uapi/linux/netfilter.h
	return []netlink.Attribute{
		expression("ct", number(unix.NFTA_CT_DREG, unix.NFT_REG_1), number(unix.NFTA_CT_KEY, unix.NFT_CT_STATE)),
		expression("bitwise", number(unix.NFTA_BITWISE_SREG, unix.NFT_REG_1), number(unix.NFTA_BITWISE_DREG, unix.NFT_REG_1),
			number(unix.NFTA_BITWISE_LEN, 4), register(unix.NFTA_BITWISE_MASK, bits), register(unix.NFTA_BITWISE_XOR, 0)),
		expression("cmp", number(unix.NFTA_CMP_SREG, unix.NFT_REG_1), number(unix.NFTA_CMP_OP, unix.NFT_CMP_NEQ), register(unix.NFTA_CMP_DATA, 0)),
		expression("immediate", number(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
			nested(unix.NFTA_IMMEDIATE_DATA, nested(unix.NFTA_DATA_VERDICT, number(unix.NFTA_VERDICT_CODE, accept)))),
	}
}

// message is a message with the header of nfnetlink.h: family, version,
// resource.
func message(kind netlink.HeaderType, flags netlink.HeaderFlags, family, resource byte, fields ...netlink.Attribute) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | flags},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, resource}, marshal(fields)...),
	}
}

// marshal panics at a field of more than 64 KiB; the demo has none.
func marshal(fields []netlink.Attribute) []byte {
	data, err := netlink.MarshalAttributes(fields)
	if err != nil {
		panic(err)
	}
	return data
}

func nested(kind uint16, fields ...netlink.Attribute) netlink.Attribute {
	return netlink.Attribute{Type: netlink.Nested | kind, Data: marshal(fields)}
}

func expression(name string, fields ...netlink.Attribute) netlink.Attribute {
	return nested(unix.NFTA_LIST_ELEM, text(unix.NFTA_EXPR_NAME, name), nested(unix.NFTA_EXPR_DATA, fields...))
}

func text(kind uint16, s string) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: append([]byte(s), 0)}
}

func number(kind uint16, n uint32) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: binary.BigEndian.AppendUint32(nil, n)}
}

// register is the content of a register, in the machine's own order of bytes.
func register(kind uint16, n uint32) netlink.Attribute {
	return nested(kind, netlink.Attribute{Type: unix.NFTA_DATA_VALUE, Data: binary.NativeEndian.AppendUint32(nil, n)})
}
