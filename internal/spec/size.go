package spec

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	size    = regexp.MustCompile(`^([0-9]{1,9}) ?([kKmMgG])(i?)[bB]?$`)
	grouped = regexp.MustCompile(`^[0-9]{1,3}([_, ][0-9]{3})+$`)
)

// sizeHint returns what to write for a number with a unit, such as 256k, or nothing. Ki is
// 1024; k may mean either.
func sizeHint(text string) string {
	m := size.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	number, _ := strconv.ParseInt(m[1], 10, 64) // nine digits
	thousands, kibis := number, number
	factor := ""
	for range strings.Index("kmg", strings.ToLower(m[2])) + 1 {
		thousands, kibis = thousands*1000, kibis*1024
		factor += " × %[1]d"
	}
	times := func(of int) string { return m[1] + fmt.Sprintf(factor, of) }
	if m[3] != "" {
		return fmt.Sprintf("write %d (%s)", kibis, times(1024))
	}
	return fmt.Sprintf("write %d (%s) or %d (%s)", kibis, times(1024), thousands, times(1000))
}

// plainDigits returns what to write for a number whose digits are grouped, such as 262_144, or
// nothing.
func plainDigits(text string) string {
	if !grouped.MatchString(text) {
		return ""
	}
	return "write " + strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, text)
}
