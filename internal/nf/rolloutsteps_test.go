package nf

import (
	"slices"
	"testing"
)

func TestStepNames(t *testing.T) {
	none, some := 0, 3
	for name, test := range map[string]struct {
		plan RolloutPlan
		want []string
	}{
		"default":         {DefaultRolloutPlan(), []string{"canaries", "1%", "5%", "20%", "50%", "100%"}},
		"no canaries":     {RolloutPlan{Fractions: []float64{1}}, []string{"100%"}},
		"those of groups": {RolloutPlan{Fractions: []float64{1}, Groups: []PlanGroup{{Canaries: &none}, {Canaries: &some}}}, []string{"canaries", "100%"}},
		"none in a group": {RolloutPlan{Fractions: []float64{0.5, 1}, Groups: []PlanGroup{{Canaries: &none}, {}}}, []string{"50%", "100%"}},
	} {
		if got := test.plan.StepNames(); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestPercent: fractions that no binary number has exactly are written as they were.
func TestPercent(t *testing.T) {
	for text, fraction := range map[string]float64{"7%": 0.07, "0.1%": 0.001, "0.001%": 0.00001, "33.3%": 0.333, "29%": 0.29, "100%": 1, "0%": 0} {
		if got := Percent(fraction); got != text {
			t.Errorf("%v: %s, want %s", fraction, got, text)
		}
	}
}
