package nf

import (
	"path"
	"regexp"
	"strings"
)

// IsPolicyFile reports whether a file of that name below a policy path is read
// as policies. Capitals do not matter.
func IsPolicyFile(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return ext == ".yaml" || ext == ".yml"
}

var commitID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// IsCommitID reports whether s names a commit as git prints it: in full, 40
// hexadecimal digits in lower case.
func IsCommitID(s string) bool { return commitID.MatchString(s) }
