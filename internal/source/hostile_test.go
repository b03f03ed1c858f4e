package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// shortTimeout is for servers that never complete an answer.
const shortTimeout = 600 * time.Millisecond

// failsInTime calls fails, and checks that the fetch ends soon after its timeout.
func failsInTime(t *testing.T, cfg Config, words ...string) error {
	t.Helper()
	begin := time.Now()
	err := fails(t, cfg, nil, words...)
	// The limit is generous because other tests share the machine.
	if took := time.Since(begin); took > cfg.Timeout+10*time.Second {
		t.Errorf("it took %v", took)
	}
	return err
}

func TestHostileHTTP(t *testing.T) {
	refuses := func(t *testing.T) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return "http://" + l.Addr().String() + "/policies"
	}
	type server func(t *testing.T) string
	hostile := func(change func(h *hostileServer)) server {
		return func(t *testing.T) string {
			h := newHostileServer()
			change(h)
			return h.start(t)
		}
	}
	const inTime = "no complete answer in time"
	for name, c := range map[string]struct {
		server server
		words  []string
		slow   bool // the fetch ends by its timeout
	}{
		"refuses": {refuses, []string{"connection refused"}, false},
		"accepts and is silent": {func(t *testing.T) string {
			return "http://" + listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }) + "/policies"
		}, []string{inTime, "waiting for 127.0.0.1:", "to list its references"}, true},
		"silent before the references": {hostile(func(h *hostileServer) { h.refs = func(io.Writer) { h.hang() } }), []string{inTime, "to list its references"}, true},
		"silent before the pack":       {hostile(func(h *hostileServer) { h.pack = func(io.Writer) { h.hang() } }), []string{inTime, "to pack the commit"}, true},
		"silent in the pack": {hostile(func(h *hostileServer) {
			h.pack = func(w io.Writer) {
				_, _ = io.WriteString(w, preamble())
				_ = newPacker(band{w}, 3)
				h.hang()
			}
		}), []string{inTime, "receiving the pack"}, true},
		"slow": {hostile(func(h *hostileServer) {
			h.pack = func(w io.Writer) {
				_, _ = io.WriteString(w, preamble())
				_ = newPacker(band{w}, 3)
				for {
					if _, err := (band{w}).Write([]byte{0}); err != nil {
						return
					}
					select {
					case <-h.gone:
						return
					case <-time.After(20 * time.Millisecond):
					}
				}
			}
		}), []string{inTime, "receiving the pack"}, true},
		"truncated pack": {hostile(func(h *hostileServer) {
			h.pack = func(w io.Writer) {
				_, _ = io.WriteString(w, preamble())
				newPacker(band{w}, 3).object(blobObject, 10, zeros(10))
				_, _ = io.WriteString(w, flush)
			}
		}), []string{"cannot read the pack"}, false},
		"connection broken in the pack": {hostile(func(h *hostileServer) {
			h.pack = func(w io.Writer) {
				_, _ = io.WriteString(w, preamble())
				newPacker(band{w}, 3).object(blobObject, 10, zeros(10))
				panic(http.ErrAbortHandler)
			}
		}), []string{"cannot read the pack"}, false},
		"wrong checksum": {hostile(func(h *hostileServer) {
			h.pack = func(w io.Writer) {
				_, _ = io.WriteString(w, preamble())
				newPacker(band{w}, 1).object(blobObject, 10, zeros(10))
				_, _ = band{w}.Write(make([]byte, 20))
				_, _ = io.WriteString(w, flush)
			}
		}), []string{"cannot read the pack", "checksum"}, false},
		"other objects": {hostile(func(h *hostileServer) {
			h.pack = packOf(func(p *packer) { p.object(blobObject, 10, zeros(10)) }, 1)
		}), []string{"it did not send " + tip}, false},
		"no objects":   {hostile(func(h *hostileServer) { h.pack = packOf(func(*packer) {}, 0) }), []string{"it did not send " + tip}, false},
		"no pack":      {hostile(func(h *hostileServer) { h.pack = func(w io.Writer) { _, _ = io.WriteString(w, preamble()+flush) } }), []string{"cannot read the pack"}, false},
		"empty answer": {hostile(func(h *hostileServer) { h.pack = func(io.Writer) {} }), []string{"cannot read the pack"}, false},
		"server's own error": {hostile(func(h *hostileServer) {
			h.pack = func(w io.Writer) { _, _ = io.WriteString(w, preamble()+pkt("\x03out of\x1b[31m cheese\n")) }
		}), []string{"out of", "cheese"}, false},
		"endless references": {hostile(func(h *hostileServer) {
			h.refs = func(w io.Writer) {
				_, _ = io.WriteString(w, pkt("%s HEAD\x00%s\n", tip, caps))
				for i := 0; ; i++ {
					if _, err := io.WriteString(w, pkt("%s refs/heads/%d\n", tip, i)); err != nil {
						return
					}
				}
			}
		}), []string{"it sends a list of references of more than 16 MiB"}, false},
		"endless line": {hostile(func(h *hostileServer) {
			h.refs = func(w io.Writer) { _, _ = io.Copy(w, zeroReader{}) }
		}), []string{"cannot fetch"}, false},
		"endless pack": {hostile(func(h *hostileServer) {
			h.pack = func(w io.Writer) {
				_, _ = io.WriteString(w, preamble())
				_, _ = io.Copy(band{w}, zeroReader{})
			}
		}), []string{"it sends a pack of more than 256 MiB. Raise the limit with --max-pack-size"}, false},
		"endless progress": {hostile(func(h *hostileServer) {
			h.pack = func(w io.Writer) {
				_, _ = io.WriteString(w, preamble())
				line := pkt("\x02%s", strings.Repeat("x", 60000))
				for {
					if _, err := io.WriteString(w, line); err != nil {
						return
					}
				}
			}
		}), []string{"it sends a pack of more than 256 MiB. Raise the limit with --max-pack-size"}, false},
		"many objects": {hostile(func(h *hostileServer) {
			h.pack = packOf(func(*packer) {}, 1<<31)
		}), []string{"it sends 2147483648 objects"}, false},
		"large object": {hostile(func(h *hostileServer) {
			h.pack = packOf(func(p *packer) { p.object(blobObject, 1<<30, zeros(1<<20)) }, 1)
		}), []string{"an object of 1073741824 bytes"}, false},
		"object larger than declared": {hostile(func(h *hostileServer) {
			h.pack = packOf(func(p *packer) { p.object(blobObject, 100, zeros(256<<20)) }, 1)
		}), []string{"cannot read the pack", "exceeds declared size"}, false},
		"large delta": {hostile(func(h *hostileServer) {
			h.pack = packOf(func(p *packer) {
				p.object(blobObject, 10, zeros(10))
				p.delta(10, 1<<30)
			}, 2)
		}), []string{"an object of 1073741824 bytes"}, false},
		"many large objects": {hostile(func(h *hostileServer) {
			h.pack = packOf(func(p *packer) {
				var packed bytes.Buffer // one object in the format of a pack
				(&packer{w: &packed}).object(blobObject, 16<<20, zeros(16<<20))
				for range 65 {
					_, _ = p.w.Write(packed.Bytes())
				}
			}, 65)
		}), []string{"its objects take more than 1 GiB"}, false},
		"redirects": {func(t *testing.T) string {
			other := start(t, http.NotFoundHandler())
			return start(t, http.RedirectHandler(other+"/policies/info/refs", http.StatusFound)) + "/policies"
		}, []string{"it redirects to http://127.0.0.1:", "is not followed"}, false},
		"a web page": {func(t *testing.T) string {
			return start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				_, _ = io.WriteString(w, "<html>Please log in</html>")
			}))
		}, []string{"it answers with text/html", "is this the URL to clone from"}, false},
		"not found": {func(t *testing.T) string { return start(t, http.NotFoundHandler()) + "/policies" }, []string{"no such repository"}, false},
		"endless refusal": {func(t *testing.T) string {
			return start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.Copy(w, zeroReader{})
			}))
		}, []string{"may not read the repository"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, c.server(t))
			if c.slow {
				cfg.Timeout = shortTimeout
			}
			err := failsInTime(t, cfg, c.words...)
			if e := asError[*FetchError](t, err); e.URL != cfg.URLs[0] || !strings.Contains(err.Error(), cfg.URLs[0]) {
				t.Errorf("the error does not name the server: %v", err)
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 2*longestMessage {
				t.Errorf("the error is not one short line without escape sequences: %q", err)
			}
			if entries, _ := filepath.Glob(cfg.Dir + "/*.new-*/objects/pack/*"); len(entries) > 0 && !c.slow {
				t.Errorf("%q are left", entries)
			}
		})
	}
}

// TestRedirectKeepsCredentials: no credentials are sent to a server to which another redirects.
func TestRedirectKeepsCredentials(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", policy)
	thirdParty := &authServer{next: backend(t, r), want: "anything"}
	other := start(t, thirdParty)
	for name, to := range map[string]string{"other port": other, "other name": strings.Replace(other, "127.0.0.1", "localhost", 1)} {
		t.Run(name, func(t *testing.T) {
			u := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, to+r.URL.RequestURI(), http.StatusTemporaryRedirect)
			})) + "/policies"
			cfg := config(t, u)
			for _, auth := range []Auth{{User: "me", PasswordFile: secret(t, "h0rse")}, {TokenFile: secret(t, "h0rse")}} {
				cfg.Auth = auth
				noSecret(t, fails(t, cfg, nil, "it redirects to "+to, "is not followed").Error(), "h0rse")
			}
		})
	}
	if len(thirdParty.given) > 0 {
		t.Errorf("the other server was asked, with %q", thirdParty.given)
	}
	t.Run("same host", func(t *testing.T) {
		s := &authServer{next: backend(t, r), want: basic("me", "h0rse")}
		u := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/old/") {
				http.Redirect(w, r, strings.TrimPrefix(r.URL.RequestURI(), "/old"), http.StatusMovedPermanently)
				return
			}
			s.ServeHTTP(w, r)
		}))
		cfg := config(t, u+"/old/policies")
		cfg.Auth = Auth{User: "me", PasswordFile: secret(t, "h0rse")}
		mustFetch(t, cfg)
	})
}

// TestNothingShowsSecrets: the arguments and the environment of the child, and the error,
// contain no secret.
func TestNothingShowsSecrets(t *testing.T) {
	asked := make(chan struct{})
	var once sync.Once
	h := newHostileServer()
	h.refs = func(io.Writer) {
		once.Do(func() { close(asked) })
		h.hang()
	}
	cfg := config(t, h.start(t))
	cfg.Auth = Auth{User: "me", PasswordFile: secret(t, "h0rse-battery")}
	ctx, cancel := context.WithCancel(context.Background())
	var shown string
	var all sync.WaitGroup
	all.Go(func() {
		defer cancel()
		select {
		case <-asked:
		case <-ctx.Done():
			return
		}
		names, _ := filepath.Glob("/proc/self/task/*/children")
		for _, name := range names {
			b, _ := os.ReadFile(name)
			for _, pid := range strings.Fields(string(b)) {
				line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
				env, _ := os.ReadFile("/proc/" + pid + "/environ")
				shown += string(line) + string(env)
			}
		}
	})
	_, err := Fetch(ctx, cfg, nil, "")
	cancel()
	all.Wait()
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, shown, childVerb)
	noSecret(t, shown+err.Error(), "h0rse-battery", basic("me", "h0rse-battery"))
}

func TestHostileSSH(t *testing.T) {
	t.Run("refuses", func(t *testing.T) {
		cfg := fakeSSH(t, func(ssh.Channel, <-chan struct{}) {})
		cfg.URLs = []string{"ssh://git@127.0.0.1:1/policies"}
		failsInTime(t, cfg, "connection refused")
	})
	t.Run("accepts and is silent", func(t *testing.T) {
		t.Parallel()
		cfg := fakeSSH(t, func(ssh.Channel, <-chan struct{}) {})
		cfg.URLs = []string{"ssh://git@" + listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }) + "/policies"}
		cfg.Timeout = shortTimeout
		failsInTime(t, cfg, cfg.URLs[0], "no complete answer in time", "connecting to")
	})
	t.Run("silent after the login", func(t *testing.T) {
		t.Parallel()
		cfg := fakeSSH(t, func(ch ssh.Channel, closed <-chan struct{}) { <-closed })
		cfg.Timeout = 2 * time.Second
		failsInTime(t, cfg, cfg.URLs[0], "no complete answer in time", "to list its references")
	})
	t.Run("stalls in the pack", func(t *testing.T) {
		t.Parallel()
		cfg := fakeSSH(t, func(ch ssh.Channel, closed <-chan struct{}) {
			_, _ = io.WriteString(ch, advertisement()+preamble())
			_ = newPacker(band{ch}, 3)
			<-closed
		})
		cfg.Timeout = 2 * time.Second
		failsInTime(t, cfg, cfg.URLs[0], "no complete answer in time", "receiving the pack")
	})
	t.Run("endless references", func(t *testing.T) {
		t.Parallel()
		cfg := fakeSSH(t, func(ch ssh.Channel, closed <-chan struct{}) {
			_, _ = io.WriteString(ch, pkt("%s HEAD\x00%s\n", tip, caps))
			for i := 0; ; i++ {
				if _, err := io.WriteString(ch, pkt("%s refs/heads/%d\n", tip, i)); err != nil {
					return
				}
			}
		})
		failsInTime(t, cfg, cfg.URLs[0], "it sends a list of references of more than 16 MiB")
	})
	t.Run("closes", func(t *testing.T) {
		t.Parallel()
		cfg := fakeSSH(t, func(ch ssh.Channel, closed <-chan struct{}) { _ = ch.Close() })
		failsInTime(t, cfg, cfg.URLs[0])
	})
}

// TestChildEndsWithParent: the child exits when the parent's end of the pipe closes.
func TestChildEndsWithParent(t *testing.T) {
	asked := make(chan struct{})
	h := newHostileServer()
	h.refs = func(io.Writer) {
		close(asked)
		h.hang()
	}
	cmd := exec.Command("/proc/self/exe", childVerb)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	if err := json.NewEncoder(in).Encode(request{Config: config(t, h.start(t))}); err != nil {
		t.Fatal(err)
	}
	<-asked
	_ = in.Close()
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("the child ended with %v", err)
	}
}

// TestStopped: a cancelled fetch returns the error of its context and tries no other URL.
func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	h := newHostileServer()
	h.refs = func(io.Writer) {
		cancel()
		h.hang()
	}
	_, err := Fetch(ctx, config(t, h.start(t), "/never/tried"), nil, "")
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "/never/tried") {
		t.Errorf("the error is %v", err)
	}
}
