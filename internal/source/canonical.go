package source

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// This file parses commits, trees and tags from their bytes, as strictly as git checks
// them when receive.fsckObjects is set (fsck.c). What git reports as an error is refused.
// What git only warns about, such as a mode with leading zeros, is accepted, because old
// repositories have it. The words in parentheses at the end of an error are git's
// (git-fsck(1), MESSAGE IDS).

// formatError is the error for an object that breaks a rule of git's format.
type formatError struct {
	kind plumbing.ObjectType
	hash plumbing.Hash
	rule error
}

func (e *formatError) Error() string {
	return fmt.Sprintf("the %s %s is malformed: %v", e.kind, e.hash, e.rule)
}

// header is one header of a commit or tag.
type header struct {
	name string
	raw  string // its lines as they are stored
}

// value returns what follows the name. It has a newline before each line that continues it.
func (h header) value() string {
	value := strings.TrimPrefix(h.raw[len(h.name):len(h.raw)-1], " ")
	return strings.ReplaceAll(value, "\n ", "\n")
}

// headers holds the headers that were not cut off.
type headers []header

// splitHeaders returns the headers of a commit or tag, and the rest from the empty line on.
func splitHeaders(raw string) (list headers, rest string, err error) {
	for rest = raw; rest != "" && rest[0] != '\n'; {
		line, after, ended := strings.Cut(rest, "\n")
		switch {
		case !ended:
			return nil, "", errors.New("its last header has no end (unterminatedHeader)")
		case strings.Contains(line, "\x00"):
			return nil, "", errors.New("its headers hold a NUL (nulInHeader)")
		}
		if last := len(list) - 1; line[0] == ' ' && last >= 0 {
			start := len(raw) - len(rest) - len(list[last].raw)
			list[last].raw = raw[start : len(raw)-len(after)]
		} else {
			name, _, _ := strings.Cut(line, " ")
			list = append(list, header{name, rest[:len(line)+1]})
		}
		rest = after
	}
	return list, rest, nil
}

// has reports whether the next header has that name.
func (l headers) has(name string) bool { return len(l) > 0 && l[0].name == name }

// cut cuts off the next header, which must have that name, and returns its value.
func (l *headers) cut(name string) (string, error) {
	if !l.has(name) {
		return "", fmt.Errorf("it has no %s line, or not where git writes it (missing%s%s)", name, strings.ToUpper(name[:1]), name[1:])
	}
	value := (*l)[0].value()
	if strings.Contains(value, "\n") {
		return "", fmt.Errorf("its %s has several lines", name)
	}
	*l = (*l)[1:]
	return value, nil
}

// cutHash is cut for a header whose value is the hash of an object.
func (l *headers) cutHash(name string) (plumbing.Hash, error) {
	value, err := l.cut(name)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	var h plumbing.Hash
	if b, err := hex.DecodeString(value); err != nil || copy(h[:], b) != len(h) || h.String() != value {
		return h, fmt.Errorf("its %s line holds no hash (bad%s%sSha1)", name, strings.ToUpper(name[:1]), name[1:])
	}
	return h, nil
}

// lacks returns an error if a header has one of the names. git reads only the first of
// each, and only in its place.
func (l headers) lacks(names ...string) error {
	for _, h := range l {
		for _, name := range names {
			if h.name == name {
				return fmt.Errorf("it has a %s line where git does not write it", name)
			}
		}
	}
	return nil
}

// identity is who made a commit or tag, and when.
type identity struct {
	email string
	when  time.Time
}

// dateAndZone matches what follows the e-mail address: seconds since 1970 without leading
// zeros, and a time zone.
var dateAndZone = regexp.MustCompile(`^ (0|[1-9][0-9]*) [+-][0-9]{4}$`)

// cutIdentity is cut for a header whose value is "NAME <EMAIL> SECONDS ZONE".
func (l *headers) cutIdentity(name string) (identity, error) {
	value, err := l.cut(name)
	if err != nil {
		return identity{}, err
	}
	who, rest, hasEmail := strings.Cut(value, "<")
	email, rest, closed := strings.Cut(rest, ">")
	date := dateAndZone.FindStringSubmatch(rest)
	switch {
	case !hasEmail:
		return identity{}, fmt.Errorf("its %s has no e-mail address (missingEmail)", name)
	case strings.Contains(who, ">"):
		return identity{}, fmt.Errorf("its %s has a name with angle brackets (badName)", name)
	case !strings.HasSuffix(who, " "):
		return identity{}, fmt.Errorf("its %s has no space before the e-mail address (missingSpaceBeforeEmail)", name)
	case !closed || strings.Contains(email, "<"):
		return identity{}, fmt.Errorf("its %s has an e-mail address without an end (badEmail)", name)
	case date == nil:
		return identity{}, fmt.Errorf("its %s has no date and time zone that can be read (badDate, badTimezone)", name)
	}
	seconds, err := strconv.ParseInt(date[1], 10, 64)
	if err != nil {
		return identity{}, fmt.Errorf("its %s has a date that is too large (badDateOverflow)", name)
	}
	return identity{email, time.Unix(seconds, 0)}, nil
}

// commit is a commit. Ancestry, verification and the policy files all rest on this one
// reading of its bytes.
type commit struct {
	hash      plumbing.Hash
	tree      plumbing.Hash
	parents   []plumbing.Hash
	committer identity
	raw       string
}

func parseCommit(hash plumbing.Hash, raw string) (*commit, error) {
	left, _, err := splitHeaders(raw)
	if err != nil {
		return nil, err
	}
	c := &commit{hash: hash, raw: raw}
	if c.tree, err = left.cutHash("tree"); err != nil {
		return nil, err
	}
	for left.has("parent") {
		parent, err := left.cutHash("parent")
		if err != nil {
			return nil, err
		}
		c.parents = append(c.parents, parent)
	}
	if _, err = left.cutIdentity("author"); err != nil {
		return nil, err
	}
	if left.has("author") {
		return nil, errors.New("it has several author lines (multipleAuthors)")
	}
	if c.committer, err = left.cutIdentity("committer"); err != nil {
		return nil, err
	}
	return c, left.lacks("tree", "parent", "author", "committer")
}

// signed returns the text that the signature of a commit covers, and the signature; "" if
// the commit has none. The text is the commit without its signatures, for either kind of
// hash (parse_signed_commit in commit.c). Several signatures are an error: git reads them as
// one, which no program writes.
func (c *commit) signed() (text []byte, signature string, err error) {
	list, rest, err := splitHeaders(c.raw)
	if err != nil {
		return nil, "", err
	}
	seen := map[string]bool{}
	for _, h := range list {
		if !strings.HasPrefix(h.name, "gpgsig") {
			text = append(text, h.raw...)
			continue
		}
		if seen[h.name] || h.name != "gpgsig" && h.name != "gpgsig-sha256" {
			return nil, "", fmt.Errorf("it has several signatures, or one of an unknown kind (header %q)", clean(h.name))
		}
		seen[h.name] = true
		if h.name == "gpgsig" {
			signature = h.value() + "\n"
		}
	}
	return append(text, rest...), signature, nil
}

// treeEntry is a file or directory of a tree.
type treeEntry struct {
	name string
	mode filemode.FileMode // Dir, Regular, Symlink or Submodule
	hash plumbing.Hash
}

// sortName returns the name by which git sorts an entry: that of a directory ends in a
// slash (base_name_compare in read-cache.c).
func sortName(name string, mode filemode.FileMode) string {
	if mode == filemode.Dir {
		return name + "/"
	}
	return name
}

func parseTree(raw []byte) ([]treeEntry, error) {
	var list []treeEntry
	names := map[string]bool{}
	for len(raw) > 0 {
		mode, rest, hasMode := bytes.Cut(raw, []byte{' '})
		name, rest, hasName := bytes.Cut(rest, []byte{0})
		if !hasMode || !hasName || len(rest) < len(plumbing.Hash{}) {
			return nil, errors.New("it ends within an entry (badTree)")
		}
		e := treeEntry{name: string(name)}
		raw = rest[copy(e.hash[:], rest):]
		var err error
		if e.mode, err = parseMode(string(mode)); err != nil {
			return nil, err
		}
		switch {
		case e.name == "":
			return nil, errors.New("it has an entry without a name (emptyName)")
		case strings.Contains(e.name, "/"):
			return nil, errors.New("it has a name with a slash (fullPathname)")
		case names[e.name]:
			return nil, fmt.Errorf("it has two entries with the name %q (duplicateEntries)", clean(e.name))
		case len(list) > 0 && sortName(list[len(list)-1].name, list[len(list)-1].mode) >= sortName(e.name, e.mode):
			return nil, fmt.Errorf("its entries are not sorted, at %q (treeNotSorted)", clean(e.name))
		}
		names[e.name] = true
		list = append(list, e)
	}
	return list, nil
}

// parseMode parses the mode of a tree's entry. Like git it uses only the type of a file,
// because old versions also stored the permissions (canon_mode in cache.h).
func parseMode(octal string) (filemode.FileMode, error) {
	mode, err := strconv.ParseUint(octal, 8, 16)
	if err == nil {
		switch mode & 0o170000 {
		case 0o040000:
			return filemode.Dir, nil
		case 0o100000:
			return filemode.Regular, nil
		case 0o120000:
			return filemode.Symlink, nil
		case 0o160000:
			return filemode.Submodule, nil
		}
	}
	return 0, fmt.Errorf("it has an entry of the mode %q (badFilemode)", clean(octal))
}

// tag is an annotated tag.
type tag struct {
	target plumbing.Hash
	kind   plumbing.ObjectType // of the target
}

func parseTag(raw string) (tag, error) {
	left, _, err := splitHeaders(raw)
	if err != nil {
		return tag{}, err
	}
	var t tag
	if t.target, err = left.cutHash("object"); err != nil {
		return tag{}, err
	}
	kind, err := left.cut("type")
	if err != nil {
		return tag{}, err
	}
	if t.kind, err = plumbing.ParseObjectType(kind); err != nil || t.kind.IsDelta() {
		return tag{}, fmt.Errorf("its type %q is unknown (badType)", clean(kind))
	}
	if _, err = left.cut("tag"); err != nil {
		return tag{}, err
	}
	if left.has("tagger") { // early versions of git wrote none
		if _, err = left.cutIdentity("tagger"); err != nil {
			return tag{}, err
		}
	}
	return t, left.lacks("object", "type", "tag", "tagger")
}
