package kernel

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// The settings of kube-proxy that set sysctls when it starts, by the names that they have in
// its configuration file, below conntrack (KubeProxyConntrackConfiguration).
const (
	proxyMax         = "max" // of old versions
	proxyMaxPerCore  = "maxPerCore"
	proxyMin         = "min"
	proxyEstablished = "tcpEstablishedTimeout"
	proxyCloseWait   = "tcpCloseWaitTimeout"
	proxyUDP         = "udpTimeout"
	proxyUDPStream   = "udpStreamTimeout"
	proxyLiberal     = "tcpBeLiberal"
)

// proxyDefaults are the settings that kube-proxy has where neither a flag nor its file says
// another (SetDefaults_KubeProxyConfiguration).
var proxyDefaults = map[string]string{proxyMaxPerCore: "32768", proxyMin: "131072", proxyEstablished: "24h", proxyCloseWait: "1h"}

// proxyFlags are the flags for the settings.
var proxyFlags = map[string]string{
	"conntrack-max": proxyMax, "conntrack-max-per-core": proxyMaxPerCore, "conntrack-min": proxyMin,
	"conntrack-tcp-timeout-established": proxyEstablished, "conntrack-tcp-timeout-close-wait": proxyCloseWait,
	"conntrack-udp-timeout": proxyUDP, "conntrack-udp-timeout-stream": proxyUDPStream, "conntrack-tcp-be-liberal": proxyLiberal,
}

// proxyTimeouts are the keys of the settings that are durations; 0 leaves the value.
var proxyTimeouts = map[nf.Key]string{
	nf.TimeoutKey("tcpEstablished"): proxyEstablished, nf.TimeoutKey("tcpCloseWait"): proxyCloseWait,
	nf.TimeoutKey("udp"): proxyUDP, nf.TimeoutKey("udpStream"): proxyUDPStream,
}

// kubeProxies returns the running kube-proxies that set a key. Only those in the network namespace
// of process 1 set the node's.
func (fs FS) kubeProxies(k nf.Key) []nf.Writer {
	var list []nf.Writer
	processes, _ := filepath.Glob(fs.proc("[0-9]*", "cmdline"))
	node, _ := os.Readlink(fs.proc("1/ns/net"))
	for _, file := range processes {
		dir := filepath.Dir(file)
		words := proxyWords(file)
		if space, err := os.Readlink(filepath.Join(dir, "ns/net")); words == nil || err != nil || space != node {
			continue
		}
		settings, from := fs.proxySettings(dir, words)
		if value, sets := fs.proxyValue(settings, k); sets {
			list = append(list, nf.Writer{Where: fmt.Sprintf("kube-proxy (process %s, %s)", filepath.Base(dir), from), Value: value})
		}
	}
	return list
}

// proxyWords returns the arguments of a process that is a kube-proxy; nil if it is none.
func proxyWords(file string) []string {
	data, err := readFile(file)
	if err != nil {
		return nil
	}
	words := strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
	for i, word := range words[:min(2, len(words))] { // hyperkube has it as its first argument
		if path.Base(word) == "kube-proxy" {
			return append([]string{}, words[i+1:]...)
		}
	}
	return nil
}

// proxySettings returns the settings of a process, and what they are from. With a file, kube-proxy
// ignores the flags.
func (fs FS) proxySettings(dir string, words []string) (settings map[string]string, from string) {
	settings, from = maps.Clone(proxyDefaults), "its flags and defaults"
	config := ""
	for i, word := range words {
		name, value, assigned := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if !assigned && i+1 < len(words) {
			value = words[i+1]
		}
		if name == "config" {
			config = value
		} else if setting, known := proxyFlags[name]; known && strings.HasPrefix(word, "-") {
			settings[setting] = value
		}
	}
	if config == "" {
		return settings, from
	}
	settings = maps.Clone(proxyDefaults)
	data, err := readBounded(FS{Root: filepath.Join(dir, "root")}, config)
	if err != nil {
		return map[string]string{}, config
	}
	maps.Copy(settings, proxySection(data))
	return settings, config
}

// The bounds of a configuration file, which is in the file system of a container.
const (
	proxyConfigMost = 1 << 20
	proxyConfigTime = 2 * time.Second
)

// readBounded reads a file of a container within the bounds.
func readBounded(fs FS, name string) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	read := make(chan result, 1)
	go func() { // a file system that hangs holds up only this goroutine
		info, err := os.Stat(fs.inRoot(name))
		if err == nil && info.Size() > proxyConfigMost {
			err = fmt.Errorf("%s is longer than %d bytes", name, proxyConfigMost)
		}
		var data []byte
		if err == nil {
			data, err = fs.readConf(name)
		}
		read <- result{data, err}
	}()
	select {
	case r := <-read:
		return r.data, r.err
	case <-time.After(proxyConfigTime):
		return nil, os.ErrDeadlineExceeded
	}
}

// proxySection returns the settings of the mapping conntrack of a configuration file, which is YAML
// in block notation. Null is the default.
func proxySection(data []byte) map[string]string {
	settings := map[string]string{}
	inside := false
	for line := range bytes.Lines(data) {
		text := strings.TrimRight(string(line), " \t\r\n")
		if text, _, _ = strings.Cut(text, " #"); strings.TrimSpace(text) == "" {
			continue
		}
		if text[0] != ' ' {
			inside = text == "conntrack:"
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(text), ":")
		if value = strings.Trim(strings.TrimSpace(value), `"'`); inside && value != "null" && value != "~" && value != "" {
			settings[name] = value
		}
	}
	return settings
}

// proxyValue returns the value that these settings set a key to; false if they leave it.
func (fs FS) proxyValue(settings map[string]string, k nf.Key) (nf.Value, bool) {
	if name, known := proxyTimeouts[k]; known {
		d, err := time.ParseDuration(settings[name])
		return nf.Number(int64(d / time.Second)), err == nil && d > 0
	}
	most := fs.proxyMax(settings)
	switch k {
	case nf.KeyMax:
		return nf.Number(most), most > 0
	case nf.KeyBuckets: // raised to a quarter of the limit
		return nf.Number(most / 4), most > 0
	case nf.SysctlKey("nf_conntrack_tcp_be_liberal"):
		return nf.Number(1), settings[proxyLiberal] == "true"
	}
	return nf.Value{}, false
}

// proxyMax returns the limit that these settings set; 0 if they leave it (getConntrackMax).
func (fs FS) proxyMax(settings map[string]string) int64 {
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(settings[name], 10, 64) // 0 leaves the value
		return n
	}
	if n := number(proxyMax); n > 0 {
		return n
	}
	perCore := number(proxyMaxPerCore)
	if perCore <= 0 {
		return 0
	}
	cores, _ := filepath.Glob(fs.sys("devices/system/cpu/cpu[0-9]*/topology"))
	return max(perCore*int64(len(cores)), number(proxyMin))
}
