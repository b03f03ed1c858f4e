// Package spec reads policy files, the agent's configuration, node snapshots and
// saved plans. It turns policies and the containers
// of a node into wants.
//
// Reading is strict and collects every error, each with its file, line and column.
package spec
