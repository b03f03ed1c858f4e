package nf

import (
	"cmp"
	"fmt"
	"regexp"
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

// writtenDuration matches what durationText returns of a number that is not negative. Its groups are the units.
var writtenDuration = regexp.MustCompile(`^(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,18})s)?$`)

// ParseDuration returns the number of seconds of a duration as Key.Text writes it.
func ParseDuration(text string) (seconds int64, ok bool) {
	groups := writtenDuration.FindStringSubmatch(text)
	if groups == nil || text == "" {
		return 0, false
	}
	for i, size := range []int64{86400, 3600, 60, 1} {
		n, _ := strconv.ParseInt(cmp.Or(groups[i+1], "0"), 10, 64) // the digits are few enough
		seconds += n * size
	}
	return seconds, true
}

// FirstFew joins the first texts of a list, and says how many others there are.
func FirstFew(list []string, most int) string {
	if more := len(list) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), more)
	}
	return strings.Join(list, ", ")
}
