package source

import (
	"bytes"
	"compress/zlib"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// gate is a server that can be out of order.
type gate struct {
	next   http.Handler
	closed bool
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.closed {
		http.Error(w, "later", http.StatusServiceUnavailable)
		return
	}
	g.next.ServeHTTP(w, r)
}

// pkt is a line of git's protocol.
func pkt(format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	return fmt.Sprintf("%04x%s", len(text)+4, text)
}

const flush = "0000"

// tip is the commit that hostile servers pretend to have.
var tip = strings.Repeat("ab", 20)

const caps = "side-band-64k shallow symref=HEAD:refs/heads/main"

// advertisement is a list of one branch.
func advertisement() string {
	return pkt("%s HEAD\x00%s\n", tip, caps) + pkt("%s refs/heads/main\n", tip) + flush
}

// liar answers as a git server over http would, with what its functions write.
type liar struct {
	refs func(w io.Writer)
	pack func(w io.Writer)
	gone chan struct{} // closed at the end of the test
}

func newLiar() *liar {
	return &liar{gone: make(chan struct{}), refs: func(w io.Writer) { _, _ = io.WriteString(w, advertisement()) }}
}

// start serves the liar and returns its URL.
func (l *liar) start(t *testing.T) string {
	t.Helper()
	u := start(t, l)
	t.Cleanup(func() { close(l.gone) }) // before the server is closed, which waits for its handlers
	return u + "/policies"
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &flusher{w: w}
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		_, _ = io.WriteString(out, pkt("# service=git-upload-pack\n")+flush)
		l.refs(out)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	l.pack(out)
}

// flusher sends at once what is written.
type flusher struct{ w http.ResponseWriter }

func (f *flusher) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = http.NewResponseController(f.w).Flush()
	}
	return n, err
}

// silent keeps a connection open without a word until the test ends.
func (l *liar) silent() { <-l.gone }

// preamble returns the lines before the pack for a request of depth 1.
func preamble() string { return pkt("shallow %s", tip) + flush + pkt("NAK\n") }

// band sends data on the channel of the pack.
type band struct{ w io.Writer }

func (b band) Write(p []byte) (int, error) {
	sent := 0
	for len(p) > 0 {
		n := min(len(p), 65515)
		if _, err := fmt.Fprintf(b.w, "%04x\x01%s", n+5, p[:n]); err != nil {
			return sent, err
		}
		p, sent = p[n:], sent+n
	}
	return sent, nil
}

// packer writes a pack object by object.
type packer struct {
	w   io.Writer
	sum interface {
		io.Writer
		Sum([]byte) []byte
	}
}

func newPacker(w io.Writer, objects uint32) *packer {
	h := sha1.New()
	p := &packer{w: io.MultiWriter(w, h), sum: h}
	_, _ = p.w.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("PACK"), 2), objects))
	return p
}

// object writes an object that says it has so many bytes.
func (p *packer) object(kind byte, says int64, content io.Reader) {
	_, _ = p.w.Write(objectHead(kind, says))
	z, _ := zlib.NewWriterLevel(p.w, zlib.BestSpeed)
	_, _ = io.Copy(z, content)
	_ = z.Close()
}

func (p *packer) end(w io.Writer) { _, _ = w.Write(p.sum.Sum(nil)) }

// zeros are so many bytes of nothing.
func zeros(n int64) io.Reader { return io.LimitReader(nothing{}, n) }

type nothing struct{}

func (nothing) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

const (
	blobObject = 3
	refDelta   = 7
)

// packOf answers with a pack of so many objects.
func packOf(write func(p *packer), objects uint32) func(io.Writer) {
	return func(w io.Writer) {
		_, _ = io.WriteString(w, preamble())
		p := newPacker(band{w}, objects)
		write(p)
		p.end(band{w})
		_, _ = io.WriteString(w, flush)
	}
}

// delta writes a delta of an object that nobody has, which says that it makes so many bytes.
func (p *packer) delta(base, makes int64) {
	var b bytes.Buffer
	for _, n := range []int64{base, makes} {
		b.Write(binary.AppendUvarint(nil, uint64(n)))
	}
	b.WriteString("\x90\x0a") // copy ten bytes from the start
	p.reference(make([]byte, 20), b.Bytes())
}

// reference writes a delta of the object of that name.
func (p *packer) reference(name, delta []byte) {
	_, _ = p.w.Write(append(objectHead(refDelta, int64(len(delta))), name...))
	z := zlib.NewWriter(p.w)
	_, _ = z.Write(delta)
	_ = z.Close()
}

// objectHead is the type and size that precede an object.
func objectHead(kind byte, says int64) []byte {
	head := []byte{kind<<4 | byte(says&15)}
	for says >>= 4; says > 0; says >>= 7 {
		head[len(head)-1] |= 0x80
		head = append(head, byte(says&0x7f))
	}
	return head
}

// deltaOf writes a delta of an object with that name which makes the same again.
func (p *packer) deltaOf(name []byte, size int64) {
	var b bytes.Buffer
	b.Write(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(size)), uint64(size)))
	for left := size; left > 0; left -= 0x10000 { // copy 0x10000 from an offset
		at := size - left
		b.Write([]byte{0x80 | 0x0f, byte(at), byte(at >> 8), byte(at >> 16), byte(at >> 24)})
	}
	p.reference(name, b.Bytes())
}

// fakeSSH is an ssh server whose only command is what the test makes of it.
func fakeSSH(t *testing.T, serve func(ch ssh.Channel, closed <-chan struct{})) Config {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	server := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	server.AddHostKey(signer)
	addr := listen(t, func(c net.Conn) {
		_, channels, requests, err := ssh.NewServerConn(c, server)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for offered := range channels {
			ch, requests, err := offered.Accept()
			if err != nil {
				return
			}
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				for r := range requests {
					_ = r.Reply(r.Type == "exec", nil)
				}
			}()
			serve(ch, closed)
		}
	})
	_, port, _ := net.SplitHostPort(addr)
	cfg := config(t, "ssh://git@"+addr+"/policies")
	cfg.Auth = Auth{SSHKeyFile: keygen(t, t.TempDir()+"/key", "ed25519"),
		KnownHostsFile: secret(t, fmt.Sprintf("[127.0.0.1]:%s %s", port, ssh.MarshalAuthorizedKey(signer.PublicKey())))}
	return cfg
}
