package view

import (
	"io"
	"strings"
)

// Build says which nfsync this is. Commit and Date are empty where the build
// does not know them.
type Build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Date     string `json:"date"`     // of the commit, RFC 3339
	Go       string `json:"go"`       // the compiler's version
	Platform string `json:"platform"` // operating system and architecture, linux/amd64
}

// Version writes what nfsync this is.
func Version(w io.Writer, format string, b Build, opt Options) error {
	return render(w, format, opt, b, func(p *page) {
		var more []string
		for _, s := range []string{b.Commit, b.Date, b.Go, b.Platform} {
			if s != "" {
				more = append(more, clean(s))
			}
		}
		line := "nfsync " + clean(b.Version)
		if more != nil {
			line += p.paint(dim, " ("+strings.Join(more, ", ")+")")
		}
		p.line(line)
	})
}
