package nf

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
)

// Size is a number of bytes.
type Size int64

// The units of a Size (IEC 80000-13).
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

var units = []struct {
	name string
	size Size
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}}

var sizeText = regexp.MustCompile(`^([0-9]{1,18})(?: ?([KMG]i)B?)?$`)

// ParseSize reads a number of bytes, such as 1048576, or of KiB, MiB or GiB, such as 256MiB.
// Kubernetes' Mi is read as MiB.
func ParseSize(text string) (Size, error) {
	m := sizeText.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q is not a size: write a number of bytes, or such as 512KiB, 256MiB or 2GiB", text)
	}
	number, _ := strconv.ParseInt(m[1], 10, 64) // 18 digits
	factor := Size(1)
	for _, u := range units {
		if u.name == m[2]+"B" {
			factor = u.size
		}
	}
	if number > math.MaxInt64/int64(factor) {
		return 0, fmt.Errorf("%s is too large a size", text)
	}
	return Size(number) * factor, nil
}

// String returns the size in the largest unit of which it is a multiple.
func (s Size) String() string {
	for _, u := range units {
		if s != 0 && s%u.size == 0 {
			return fmt.Sprintf("%d %s", s/u.size, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", int64(s))
}
