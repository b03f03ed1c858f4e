package watch

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestModuleOf(t *testing.T) {
	kernel := &unix.SockaddrNetlink{}
	for event, want := range map[string]string{
		"add@/module/nf_conntrack\x00ACTION=add\x00DEVPATH=/module/nf_conntrack\x00SUBSYSTEM=module\x00": "nf_conntrack",
		"remove@/module/nf_nat\x00ACTION=remove\x00":                                                     "nf_nat",
		"add@/devices/virtual/net/veth0\x00ACTION=add\x00":                                               "",
		"add@/module/nf_nat/holders\x00":                                                                 "",
		"change@/module/nf_nat\x00":                                                                      "",
		"libudev\x00\xfe\xed\xca\xfe":                                                                    "",
		"":                                                                                               "",
		"add@/module/":                                                                                   "",
	} {
		if got := moduleOf([]byte(event), kernel); got != want {
			t.Errorf("%q: %q, want %q", event, got, want)
		}
	}
	if got := moduleOf([]byte("add@/module/nf_conntrack\x00"), &unix.SockaddrNetlink{Pid: 4711}); got != "" {
		t.Errorf("an event of a process is taken for one of the kernel: %q", got)
	}
}

// TestModulesEnds: the socket can be opened, and the wait for events ends with its context.
func TestModulesEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- Modules(ctx, func(string) {}) }()
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(reported):
		t.Error("it does not end")
	}
}
