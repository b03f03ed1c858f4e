package agent_test

import (
	"context"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
)

// A last good revision that was saved without verification is verified when the
// configuration asks for it. One that is not trusted is not enforced.
func TestLastGoodIsVerifiedAgain(t *testing.T) {
	b := newBench(t)
	b.mustFollowTip()
	b.machine.Put(nf.Node, udp, 99)
	b.repo.err = &source.VerifyError{Commit: "c1", Why: "it is not signed"}
	b.in.Mode = source.VerifyTip
	var verified []string
	b.in.Verify = func(_ context.Context, commit string) (string, error) {
		verified = append(verified, commit)
		return "", &source.VerifyError{Commit: commit, Why: "it is not signed"}
	}
	res, err := b.lap()
	if !errorIs[*source.VerifyError](err) || res.Missed == nil || res.Receipt.Kind != "" || !strings.Contains(err.Error(), "is not enforced") {
		t.Errorf("%+v, %v", res, err)
	}
	b.checkValue(99)
	b.in.Verify = func(_ context.Context, commit string) (string, error) {
		verified = append(verified, commit)
		return "grace", nil
	}
	b.mustFallBack()
	if good, err := b.state.LastGood(); err != nil || good.Signer != "grace" || good.Verified != "tip" {
		t.Errorf("%+v, %v", good, err)
	}
	b.mustFallBack()
	if diff := gocmp.Diff([]string{"c1", "c1"}, verified); diff != "" {
		t.Errorf("verified:\n%s", diff)
	}
	b.repo.err = nil
	b.repo.commit("c2", "c1", 42)
	b.mustFollowTip()
	if good, err := b.state.LastGood(); err != nil || good.Verified != "tip" || good.Signer != "ada" {
		t.Errorf("%+v, %v", good, err)
	}
}
