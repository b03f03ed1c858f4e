// Package source brings the policies of a git repository: the files of one
// commit, read from its tree without a checkout, and verified.
package source
