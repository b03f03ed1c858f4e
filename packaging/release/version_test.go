package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var commitTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))

func TestPackageVersion(t *testing.T) {
	for described, want := range map[string]string{
		"v0.1.0":                           "0.1.0",
		"v10.20.30":                        "10.20.30",
		"v0.1.0-dirty":                     "0.1.0+0.dirty",
		"v0.2.0-rc.1":                      "0.2.0~rc.1",
		"v0.2.0-rc-1":                      "0.2.0~rc.1",
		"v0.2.0-rc.1-3-gabcdef012345":      "0.2.0~rc.1+3.gabcdef012345",
		"v0.1.0-7-gabcdef012345":           "0.1.0+7.gabcdef012345",
		"v0.1.0-7-gabcdef012345-dirty":     "0.1.0+7.gabcdef012345.dirty",
		"abcdef012345":                     "0.0.0+git20260102020405.abcdef012345",
		"abcdef012345-dirty":               "0.0.0+git20260102020405.abcdef012345.dirty",
		"":                                 "",
		"devel":                            "",
		"0.1.0":                            "",
		"v0.1":                             "",
		"v0.1.0 -o APT::Get::X=1":          "",
		"v0.1.0;id":                        "",
		"v0.1.0-rc.1+build":                "",
		"abc":                              "",
		strings.Repeat("abcdef0123", 5):    "",
		"v0.1.0\nVersion: 9":               "",
		"v0.1.0-7-gabcdef012345-dirty\n x": "",
	} {
		got, err := packageVersion(described, commitTime)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", described, got, err, want)
		}
	}
}

// TestPackageVersionSorts: dpkg and rpm sort versions as the commits that they were built from.
func TestPackageVersionSorts(t *testing.T) {
	order := []string{ // from old to new
		"fedcba987654", "abcdef012345-dirty", "v0.1.0-rc.2", "v0.1.0-rc.10", "v0.1.0-rc.10-2-gabcdef012345", "v0.1.0", "v0.1.0-dirty",
		"v0.1.0-7-gfedcba987654", "v0.1.0-7-gfedcba987654-dirty", "v0.1.0-10-gabcdef012345", "v0.1.1", "v0.2.0", "v0.10.0", "v1.0.0-beta.1", "v1.0.0",
	}
	var versions []string
	for i, described := range order {
		v, err := packageVersion(described, commitTime.Add(time.Duration(i)*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, v)
	}
	for i, older := range versions[:len(versions)-1] {
		newer := versions[i+1]
		if err := exec.Command("dpkg", "--compare-versions", older+"-1", "lt", newer+"-1").Run(); err != nil {
			t.Errorf("dpkg does not sort %s before %s: %v", older, newer, err)
		}
		out, err := exec.Command("rpm", "--eval", fmt.Sprintf(`%%{lua: print(rpm.vercmp("%s-1", "%s-1"))}`, older, newer)).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "-1" {
			t.Errorf("rpm does not sort %s before %s: %s, %v", older, newer, out, err)
		}
	}
}
