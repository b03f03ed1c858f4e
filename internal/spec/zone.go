package spec

import (
	_ "embed"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// zoneNames are the names of the time zone database, sorted. Nodes may lack the database or have an old one, and must take
// the same policies all the same; so a zone is known by its name alone. The coordinator has the database in its program.
//
//go:embed zones.txt
var zoneNames string

// zone reads the name of a time zone.
func (p *parser) zone() reader[string] {
	zones := strings.Fields(zoneNames)
	return func(path string, n *yaml.Node) (string, bool) {
		name, ok := p.text(path, n)
		if !ok {
			return "", false
		}
		if _, known := slices.BinarySearch(zones, name); !known {
			p.report(n, RuleUnknownWord, "a name of the time zone database, such as Europe/Berlin or UTC", "%s: unknown time zone %s%s", path, quote(name), didYouMean(name, zones))
			return "", false
		}
		return name, true
	}
}
