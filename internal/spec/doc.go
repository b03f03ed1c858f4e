// Package spec reads policy files, the plan of roll-outs, the configurations of agents and coordinators, node
// snapshots and saved plans. It turns policies and the containers
// of a node into wants.
//
// Reading is strict and collects every error, each with its file, line and column.
package spec
