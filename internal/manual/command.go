package manual

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/schemas"
)

// EditionOf returns the edition of a version. Its date is the epoch, which is that of SOURCE_DATE_EPOCH, or that of the
// commit, in the form of RFC 3339; without both there is none.
func EditionOf(version, commit, epoch string) (Edition, error) {
	of := Edition{Version: version}
	if epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return of, fmt.Errorf("SOURCE_DATE_EPOCH %q is no number of seconds", epoch)
		}
		of.Date = time.Unix(seconds, 0)
		return of, nil
	}
	of.Date, _ = time.Parse(time.RFC3339, commit) // without one the pages have none
	return of, nil
}

// Write writes pages below a directory, each in the directory of its section.
func Write(dir string, pages []*Page) error {
	for _, p := range pages {
		within := filepath.Join(dir, fmt.Sprintf("man%d", p.Section()))
		if err := os.MkdirAll(within, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(within, p.Name()), []byte(p.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Documented lists the verbs of a command that have a page.
func Documented(command *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(command.Commands()), func(c *cobra.Command) bool { return c.Hidden })
}

// PageName returns the name of a command's page: nfsync-completion-bash.
func PageName(command *cobra.Command) string {
	return strings.ReplaceAll(command.CommandPath(), " ", "-")
}

// Pages returns the pages of all verbs below a command, each as page makes it, a verb before those below it.
func Pages(command *cobra.Command, page func(*cobra.Command) *Page) []*Page {
	var pages []*Page
	for _, verb := range Documented(command) {
		pages = append(append(pages, page(verb)), Pages(verb, page)...)
	}
	return pages
}

// VerbPage returns the page of a verb, in the section of that of the whole program. flags writes its flags. What to see also
// is left to the caller.
func VerbPage(verb *cobra.Command, section int, of Edition, flags func(*Page, *cobra.Command)) *Page {
	program := fmt.Sprintf("%s(%d)", verb.Root().Name(), section)
	p := New(PageName(verb), section, of)
	p.Title(verb.Short)
	p.Heading("SYNOPSIS")
	p.Synopses(verb)
	p.Heading("DESCRIPTION")
	p.Text(cmp.Or(verb.Long, verb.Short+"."))
	p.Verbs(verb)
	p.Heading("OPTIONS")
	p.Text("The options that every command has are in " + program + ".")
	flags(p, verb)
	if verb.Example != "" {
		p.Heading("EXAMPLES")
		p.Literal(verb.Example)
	}
	p.Heading("EXIT STATUS")
	p.Text("See " + program + ".")
	return p
}

// Verbs writes the verbs of a command that have a page, which is in the section of this one.
func (p *Page) Verbs(command *cobra.Command) {
	for _, verb := range Documented(command) {
		p.Item(Tag{Bold: PageName(verb), Section: p.section}, verb.Short+".")
	}
}

// Synopses writes what can follow a command: some can be called in several ways.
func (p *Page) Synopses(command *cobra.Command) {
	ways := strings.Split(command.Use, " | ")
	name := command.Name()
	for _, w := range ways {
		if first, _, _ := strings.Cut(w, " "); first != name {
			ways = []string{command.Use}
			break
		}
	}
	for _, w := range ways {
		p.Synopsis(command.CommandPath(), strings.TrimSpace(strings.TrimPrefix(w, name)+" [OPTION...]"))
	}
}

// Flag writes a flag, as the help has it, with its usage and its default.
func (p *Page) Flag(f *pflag.Flag, usage, value string) {
	shown := *f
	shown.Usage = usage
	argument, usage := pflag.UnquoteUsage(&shown)
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	text := strings.ToUpper(usage[:1]) + usage[1:] + "."
	if !strings.Contains(usage, "(default") && hasDefault(f, value) {
		text += " Default: " + strings.Trim(value, "[]") + "."
	}
	p.Item(Tag{Bold: name, Italic: argument}, text)
}

// Flags writes the flags of a set that the help shows.
func (p *Page) Flags(set *pflag.FlagSet) {
	set.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			p.Flag(f, f.Usage, f.DefValue)
		}
	})
}

// hasDefault reports whether a default is worth a word: nothing and false are not.
func hasDefault(f *pflag.Flag, value string) bool {
	return value != "" && value != "[]" && value != "0s" && !(f.Value.Type() == "bool" && value == "false")
}

// Example writes an example file, without the line for editors.
func (p *Page) Example(text []byte) {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		if !strings.HasPrefix(line, "# yaml-language-server:") {
			lines = append(lines, line)
		}
	}
	p.Literal(strings.Join(lines, "\n"))
}

// Kind writes a section with the fields of a kind of document.
func (p *Page) Kind(kind string) error {
	p.Heading(kind)
	text, _ := schemas.Get(kind)
	return p.Fields(text)
}
