package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// The two forms of git describe: a tag, the number of commits since and the commit; or, without a tag,
// the commit alone.
var (
	tagged   = regexp.MustCompile(`^v(\d+\.\d+\.\d+)(?:-([0-9A-Za-z.-]+?))??(?:-(\d+)-g([0-9a-f]{7,40}))?(-dirty)?$`)
	untagged = regexp.MustCompile(`^([0-9a-f]{7,40})(-dirty)?$`)
)

// packageVersion returns the version that packages have, of what git describe says and of the time of
// the commit. dpkg and rpm sort it as the commits are: before the next tag, after the last one.
//
//	v0.1.0             0.1.0
//	v0.2.0-rc.1        0.2.0~rc.1
//	v0.1.0-7-gabc1234  0.1.0+7.gabc1234
//	abc1234            0.0.0+git20260102030405.abc1234
//
// What a build of changed files has at the end is ".dirty".
func packageVersion(described string, commit time.Time) (string, error) {
	if m := untagged.FindStringSubmatch(described); m != nil {
		return "0.0.0+git" + commit.UTC().Format("20060102150405") + "." + m[1] + dirty(m[2]), nil
	}
	m := tagged.FindStringSubmatch(described)
	if m == nil {
		return "", fmt.Errorf("cannot make the version of a package from %q: it is neither vMAJOR.MINOR.PATCH nor what git describe prints", described)
	}
	version := m[1]
	if m[2] != "" {
		version += "~" + strings.ReplaceAll(m[2], "-", ".")
	}
	switch {
	case m[3] != "":
		version += "+" + m[3] + ".g" + m[4]
	case m[5] != "":
		version += "+0"
	}
	return version + dirty(m[5]), nil
}

// dirty returns the end of the version of changed files.
func dirty(suffix string) string { return strings.Replace(suffix, "-", ".", 1) }
