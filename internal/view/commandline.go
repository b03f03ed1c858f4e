package view

import "strings"

// CommandLine joins words to a command line that people can type into a shell.
func CommandLine(words ...string) string {
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$&|;<>*?[](){}~#!`") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
