// Package examples holds the example policies, for the demo.
package examples

import "embed"

// Policies holds the example policies of edge nodes, below policies/.
//
//go:embed policies/containers.yaml policies/edge-nodes.yaml
var Policies embed.FS
