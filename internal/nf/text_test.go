package nf

import "testing"

func TestText(t *testing.T) {
	udp := TimeoutKey("udp")
	for _, c := range []struct {
		key   Key
		value Value
		want  string
	}{
		{udp, Number(0), "0s"},
		{udp, Number(30), "30s"},
		{udp, Number(60), "1m"},
		{udp, Number(90), "90s"},
		{udp, Number(120), "2m"},
		{udp, Number(150), "2m30s"},
		{udp, Number(7200), "2h"},
		{udp, Number(5400), "1h30m"},
		{udp, Number(129600), "1d12h"},
		{udp, Number(432000), "5d"},
		{udp, Number(86401), "1d1s"},
		{udp, Absent(), "absent"},
		{udp, Unknown("why"), "unknown"},
		{KeyMax, Number(7200), "7200"},
		{KeyLevel, LevelFull.Value(), "full"},
	} {
		if got := c.key.Text(c.value); got != c.want {
			t.Errorf("%s %v: %s, want %s", c.key, c.value, got, c.want)
		}
	}
	if got := udp.WishText(Exactly(Number(3600))); got != "1h" {
		t.Errorf("got %s", got)
	}
	if got := KeyMax.WishText(Wish{AtLeast: 5}); got != "at least 5" {
		t.Errorf("got %s", got)
	}
}

// TestParseDuration: what a plan prints is read as the same number.
func TestParseDuration(t *testing.T) {
	for _, seconds := range []int64{0, 1, 59, 60, 90, 119, 120, 3600, 5400, 86399, 86400, 86401, 129600, 432000, 1 << 31} {
		if got, ok := ParseDuration(durationText(seconds)); !ok || got != seconds {
			t.Errorf("%s: %d, %v, want %d", durationText(seconds), got, ok, seconds)
		}
	}
	for _, text := range []string{"", "5", "d", "5D", "1h5d", "-5s", "5 d", "1.5h", "5d ", "1d1d", "9999999999d"} {
		if got, ok := ParseDuration(text); ok {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}
