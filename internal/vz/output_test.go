package vz

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// infoFixture is an element of prlctl list -a -i -f -j of Virtuozzo 7, from a provider's
// tool, with its address and host name made anonymous.
const infoFixture = `[
	{
	"ID": "ccefa40c-5c72-4e17-94c7-d68034a1c1a5",
	"EnvID": "132694", "Name": "132694", "Description": "", "Type": "CT", "State": "running",
	"OS": "centos7", "Template": "no", "Uptime": "797400", "Home": "/vz/private/132694", "Backup path": "", "Owner": "root",
	"GuestTools": { "state": "possibly_installed" }, "GuestTools autoupdate": "on", "Autostart": "on", "Autostop": "suspend", "Autocompact": "on",
	"Hardware": { "cpu": { "sockets": 1, "cpus": 1, "cores": 1, "VT-x": true, "hotplug": true, "accl": "high", "mode": "64", "cpuunits": 1500, "ioprio": 4 },
	  "venet0": { "enabled": true, "type": "routed", "ips": "203.0.113.10 " } },
	"Offline management": { "enabled": false },
	"Netfilter": "stateful",
	"High Availability": { "enabled": "yes", "prio": 0 }
	}
]
`

// vzlistFixture has the format of print_hdr and print_json_str in src/vzlist.c of vzctl.
const vzlistFixture = `[
  {
    "ctid": "132694",
    "uuid": "ccefa40c-5c72-4e17-94c7-d68034a1c1a5",
    "status": "running",
    "netfilter": "full"
  },
  {
    "ctid": "0c1e4c3b-6d8c-4c5b-9a6b-3f2d1e0a9b8c",
    "uuid": "-",
    "status": "stopped",
    "netfilter": "-"
  }
]
`

// prlctlFixture is the output of prlctl list -j in src/PrlList.cpp, with the type that
// Virtuozzo adds.
const prlctlFixture = `[{"uuid":"01732d18-5897-4550-b905-6fb947678c68","status":"invalid","ip_configured":"-","type":"CT","name":"web"}]`

func TestEntries(t *testing.T) {
	for _, test := range []struct {
		name, program, out string
		bad                int
		want               []entry
	}{
		{"vzlist", vzlist, vzlistFixture, 0, []entry{
			{ctid: "132694", uuid: "ccefa40c-5c72-4e17-94c7-d68034a1c1a5", vzlist: "running"},
			{ctid: "0c1e4c3b-6d8c-4c5b-9a6b-3f2d1e0a9b8c", vzlist: "stopped"}}},
		{"prlctl", prlctl, prlctlFixture, 0, []entry{
			{uuid: "01732d18-5897-4550-b905-6fb947678c68", prlctl: "invalid", typ: "CT", name: "web"}}},
		{"prlctl -i", prlctl, infoFixture, 0, []entry{
			{ctid: "132694", uuid: "ccefa40c-5c72-4e17-94c7-d68034a1c1a5", prlctl: "running", typ: "CT", name: "132694"}}},
		{"braces", prlctl, `[{"uuid":"{01732d18-5897-4550-b905-6fb947678c68}","envid":"101","status":"stopped"}]`, 0, []entry{
			{ctid: "101", uuid: "01732d18-5897-4550-b905-6fb947678c68", prlctl: "stopped"}}},
		{"none", prlctl, "[\n]\n", 0, nil},
		{"null", vzlist, "null\n[]\n", 0, nil},
		{"null and unknown values", vzlist, `[{"ctid":"101","uuid":null,"status":null,"numproc":{"held":3},"onboot":true}]`, 0, []entry{
			{ctid: "101", vzlist: "unknown"}}},
		{"a number", vzlist, `[{"ctid":101,"status":"running"}]`, 0, []entry{{ctid: "101", vzlist: "running"}}},
		{"odd elements", vzlist, `["101", null, 3, {"ctid":"102","status":"stopped"}]`, 3, []entry{{ctid: "102", vzlist: "stopped"}}},
		{"no usable id", vzlist, `[{"ctid":"../../x","status":"running"},{"ctid":"-x"},{"ctid":"0"},{"ctid":"a/b"},{"ctid":".."},{"status":"stopped"}]`, 6, nil},
		{"a virtual machine needs no id", prlctl, `[{"uuid":"-","type":"VM","name":"win"}]`, 0, nil},
		{"control bytes in a string", prlctl, "[{\"envid\":\"101\",\"name\":\"a\x01b\x1b[0m\",\"status\":\"running\",\"type\":\"CT\"}]", 0, []entry{
			{ctid: "101", name: "a\uFFFDb\uFFFD[0m", prlctl: "running", typ: "CT"}}},
		{"bytes that are not UTF-8", prlctl, "[{\"envid\":\"101\",\"name\":\"caf\xe9\",\"status\":\"running\",\"type\":\"CT\"}]", 0, []entry{
			{ctid: "101", name: "caf\uFFFD", prlctl: "running", typ: "CT"}}},
		{"strings that are not escaped", vzlist, "[\n  {\n    \"ctid\": \"101\",\n    \"name\": \"the \"web\" one\",\n    \"description\": \"a\\b\n\"ctid\": no\n\",\n" +
			"    \"ubc\": {\n      \"held\": 1,\n      \"status\": \"nested\"\n    },\n    \"status\": \"running\"\n  },\n  {\n    \"ctid\": 102,\n    \"name\": null,\n    \"status\": \"stopped\"\n  }\n]\n", 0, []entry{
			{ctid: "101", name: `the "web" one`, vzlist: "running"}, {ctid: "102", vzlist: "stopped"}}},
		{"a name with quotes", prlctl, "[\n\t{\n\t\t\"envid\": \"101\",\n\t\t\"name\": \"the \"web\" {one}\",\n\t\t\"status\": \"running\"\n\t}\n]\n", 0, []entry{
			{ctid: "101", name: `the "web" {one}`, prlctl: "running"}}},
		{"words before the list", prlctl, "Warning: old\n" + prlctlFixture, 0, []entry{
			{uuid: "01732d18-5897-4550-b905-6fb947678c68", prlctl: "invalid", typ: "CT", name: "web"}}},
	} {
		records, bad, err := parseList([]byte(test.out))
		var got []entry
		for _, r := range records {
			if e := newEntry(test.program, r); e.ctid != "" || e.uuid != "" {
				got = append(got, e)
			} else if !isOther(e.typ) {
				bad++
			}
		}
		if err != nil || bad != test.bad || !slices.Equal(got, test.want) {
			t.Errorf("%s: %+v, %d bad, %v, want %+v, %d", test.name, got, bad, err, test.want, test.bad)
		}
	}
}

func TestOutputThatIsNotAList(t *testing.T) {
	for out, want := range map[string]string{
		"":                           "printed nothing",
		" \n":                        "printed nothing",
		"Segmentation fault\n":       "not a list",
		`{"error":"x"}`:              "not a list",
		"[{\"ctid\":\"101\"":         "not a list",
		"[\n{\n\"ctid\": \"101\"\n}": "not a list", // cut off
		"\x00\x01\x02":               "not a list",
		"<html></html>":              "not a list",
	} {
		if list, _, err := parseList([]byte(out)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", out, list, err)
		}
	}
}

// Whatever a program prints, no id is a path or an option, and no value is empty.
func FuzzParseList(f *testing.F) {
	for _, seed := range []string{infoFixture, vzlistFixture, prlctlFixture, "[\n]\n", "[\n{\n\"ctid\": \"a\"b\"\n},\n]", "[{\"uuid\":\"\x01\xff\"}]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, bad, err := parseList(data)
		if err != nil && (list != nil || bad != 0) {
			t.Errorf("%v beside %v", list, err)
		}
		for _, r := range list {
			for _, program := range []string{vzlist, prlctl} {
				e := newEntry(program, r)
				if strings.ContainsAny(e.ctid+e.uuid, "/\x00\n ") || strings.HasPrefix(e.ctid, "-") || strings.HasPrefix(e.ctid, ".") || e.uuid == "-" {
					t.Errorf("%q is used as an id of %v", e.ctid, r)
				}
			}
			if slices.Contains(slices.Collect(maps.Values(r)), "") {
				t.Errorf("%v holds an empty value", r)
			}
		}
	})
}
