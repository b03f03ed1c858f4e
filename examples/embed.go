// Package examples holds the example policies, for the demo.
package examples

import "embed"

// Policies are the example policies, below policies/.
//
//go:embed policies/*.yaml
var Policies embed.FS
