// Package examples holds the example policies and the example configurations, for the demo and for
// the manual pages.
package examples

import "embed"

// Policies holds the example policies of edge nodes, below policies/.
//
//go:embed policies/containers.yaml policies/edge-nodes.yaml
var Policies embed.FS

// Configuration is the example of the agent's configuration.
//
//go:embed agent.yaml
var Configuration []byte

// CoordinatorConfiguration is the example of the coordinator's configuration.
//
//go:embed coordinator.yaml
var CoordinatorConfiguration []byte
