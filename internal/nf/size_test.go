package nf

import (
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "1": 1, "1048576": MiB, "512KiB": 512 * KiB, "256MiB": 256 * MiB, "2GiB": 2 * GiB, "256 MiB": 256 * MiB, "256Mi": 256 * MiB,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for text, why := range map[string]string{
		"": "not a size", "256M": "256MiB", "256MB": "256MiB", "256mib": "256MiB", "1.5GiB": "not a size", "-1": "not a size", "1e9": "not a size",
		"MiB": "not a size", "1 B": "not a size", "1KiBx": "not a size", "9999999999999999999": "not a size", "99999999999999GiB": "too large",
	} {
		if got, err := ParseSize(text); (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestSizeString(t *testing.T) {
	for size, want := range map[Size]string{0: "0 bytes", 1000: "1000 bytes", KiB: "1 KiB", 256 * MiB: "256 MiB", 1536 * MiB: "1536 MiB", 2 * GiB: "2 GiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d: %q, want %q", size, got, want)
		}
		if got, err := ParseSize(strings.TrimSuffix(want, " bytes")); err != nil || got != size {
			t.Errorf("%q is read as %d, %v", want, got, err)
		}
	}
}
