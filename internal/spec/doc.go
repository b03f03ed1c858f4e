// Package spec reads what people and other runs of nfsync have written: policy
// files, node snapshots and saved plans. It turns policies and the containers
// of a node into wants.
//
// Reading is strict and collects every error, each with the file, line and
// column that it is about.
package spec
