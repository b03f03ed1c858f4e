// Package engine is the NATS server of a fleet: the keys and accounts that keep its members apart, the
// credentials that are handed out, the configuration of servers, and a server inside this process.
//
// The accounts are the walls. The streams are in an account of their own, FLEET; nodes, readers and operators are
// in others, which import what they may ask and nothing else. Permissions within one account would not do: a server
// sends the answer of a request to whatever subject the request names, and does not ask whether its
// sender may publish there.
package engine
