package view

import "strings"

// Build identifies a build of nfsync. Commit and Date are empty if the build does not
// know them.
type Build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Date     string `json:"date"`     // of the commit, RFC 3339
	Go       string `json:"go"`       // the compiler's version
	Platform string `json:"platform"` // operating system and architecture, linux/amd64
}

// Builds is the output of version.
var Builds = newKind(func(b Build) any { return b }, (*page).version)

func (p *page) version(b Build) {
	var more []string
	for _, s := range []string{b.Commit, b.Date, b.Go, b.Platform} {
		if s != "" {
			more = append(more, Clean(s))
		}
	}
	line := "nfsync " + Clean(b.Version)
	if more != nil {
		line += p.paint(dim, " ("+strings.Join(more, ", ")+")")
	}
	p.line(line)
}
