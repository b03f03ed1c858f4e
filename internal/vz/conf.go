package vz

import (
	"cmp"
	"fmt"
	"maps"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// conf holds the settings of a ve.conf or of vz.conf.
type conf map[string]string

// Names of settings, as in env_config.c of libvzctl.
const (
	confNetfilter = "NETFILTER"
	confIPTables  = "IPTABLES"
	confName      = "NAME"
	confUUID      = "UUID"
	confVEID      = "VEID"
	confPrivate   = "VE_PRIVATE"
	confType      = "VE_TYPE"
)

// localSettings are the settings of vz.conf that do not apply to containers
// (_s_conf_local_param in lib/config.c of libvzctl).
var localSettings = []string{confNetfilter, confUUID, confVEID}

// parseConf reads lines of the form KEY="value", as parse_line in lib/util.c of
// libvzctl does: value may be in double, single or no quotes, # starts a comment after
// white space, and the last line of a key counts. Other lines are skipped.
func parseConf(data []byte) conf {
	c := conf{}
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && isSetting(key) {
			c[key] = strings.ToValidUTF8(unquote(value), "\uFFFD")
		}
	}
	return c
}

func isSetting(key string) bool {
	letter := func(c rune) bool {
		return c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
	}
	return key != "" && strings.TrimFunc(key, letter) == ""
}

// unquote removes the quotes, the backslashes and the comment from a value.
func unquote(s string) string {
	var b strings.Builder
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == '#' && (i == 0 || s[i-1] == ' ' || s[i-1] == '\t'):
			return strings.TrimSpace(b.String())
		default:
			b.WriteByte(c)
		}
	}
	return strings.TrimSpace(b.String())
}

// over returns a container's settings on top of the node's.
func (c conf) over(global conf) conf {
	all := conf{}
	maps.Copy(all, global)
	for _, k := range localSettings {
		delete(all, k)
	}
	maps.Copy(all, c)
	return all
}

// savedLevel returns the level that the next cold start brings: that of NETFILTER=, else
// the mask of IPTABLES=, else stateless (get_ipt_mask in lib/iptables.c of libvzctl).
func (c conf) savedLevel() nf.Value {
	name := c[confNetfilter]
	if name == "" {
		return nf.MaskValue(iptablesMask(c[confIPTables]))
	}
	level, ok := nf.ParseLevel(name)
	if !ok {
		return nf.Unknown(fmt.Sprintf("its configuration has %s=%q, which is not a level", confNetfilter, name))
	}
	return level.Value()
}

// isTemplate reports whether the settings are those of a template, which never starts
// (VE_TYPE in lib/env_config.c of libvzctl).
func (c conf) isTemplate() bool { return c[confType] == "template" }

// private returns the container's private area on the node.
func (c conf) private(ctid string) string {
	path := cmp.Or(c[confPrivate], "/vz/private/$VEID")
	return strings.NewReplacer("${VEID}", ctid, "$VEID", ctid).Replace(path)
}
