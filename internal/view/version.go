package view

import (
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// Build identifies a build of nfsync. Commit and Date are empty, and Dirty is nil, if the
// build does not know them: it was made without git.
type Build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Date     string `json:"date"`     // of the commit, RFC 3339
	Dirty    *bool  `json:"dirty"`    // whether the files differed from those of the commit
	Go       string `json:"go"`       // the compiler's version
	Platform string `json:"platform"` // operating system and architecture, linux/amd64
}

// Builds is the output of version, the Version document.
var Builds = newKind(func(b Build) any { return versionJSON{headerOf(nf.KindVersion), b} }, (*page).version)

type versionJSON struct {
	header
	Build
}

func (p *page) version(b Build) {
	var more []string
	commit := b.Commit
	if commit != "" && b.Dirty != nil && *b.Dirty {
		commit += " with uncommitted changes"
	}
	for _, s := range []string{commit, b.Date, b.Go, b.Platform} {
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
