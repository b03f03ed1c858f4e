package nf

import (
	"path"
	"regexp"
)

// IsPolicyFile reports whether a file of that name below a policy path is read
// as policies.
func IsPolicyFile(name string) bool { return path.Ext(name) == ".yaml" || path.Ext(name) == ".yml" }

var commitID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// IsCommitID reports whether s names a commit as git prints it: in full, 40
// hexadecimal digits in lower case.
func IsCommitID(s string) bool { return commitID.MatchString(s) }
