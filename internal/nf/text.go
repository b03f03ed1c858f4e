package nf

import (
	"fmt"
	"strconv"
	"strings"
)

// Text returns a value of the key as people read it: a timeout as a duration, any other as
// Value.String. Nothing compares texts.
func (k Key) Text(v Value) string {
	n, isNumber := v.Number()
	if _, isTimeout := k.Timeout(); isNumber && isTimeout {
		return durationText(n)
	}
	return v.String()
}

// WishText returns a wish for the key as people read it.
func (k Key) WishText(w Wish) string {
	if w.IsRange() {
		return w.String()
	}
	return k.Text(w.Value)
}

// durationText returns a number of seconds as people say it: 5d, 1d12h, 2h, 90s.
func durationText(seconds int64) string {
	if seconds < 60 || seconds < 120 && seconds%60 != 0 {
		return strconv.FormatInt(seconds, 10) + "s"
	}
	var b strings.Builder
	for _, unit := range []struct {
		seconds int64
		name    string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}} {
		if n := seconds / unit.seconds; n > 0 {
			b.WriteString(strconv.FormatInt(n, 10) + unit.name)
			seconds %= unit.seconds
		}
	}
	return b.String()
}

// FirstFew joins the first texts of a list, and says how many others there are.
func FirstFew(list []string, most int) string {
	if more := len(list) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), more)
	}
	return strings.Join(list, ", ")
}
