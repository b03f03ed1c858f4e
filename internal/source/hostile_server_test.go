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

// pkt returns a line in git's pkt-line format.
func pkt(format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	return fmt.Sprintf("%04x%s", len(text)+4, text)
}

const flush = "0000"

// tip is the commit that hostile servers list.
var tip = strings.Repeat("ab", 20)

const caps = "side-band-64k shallow symref=HEAD:refs/heads/main"

// advertisement returns a list of references with one branch.
func advertisement() string {
	return pkt("%s HEAD\x00%s\n", tip, caps) + pkt("%s refs/heads/main\n", tip) + flush
}

// hostileServer is a git server over http whose answers its functions write.
type hostileServer struct {
	refs func(w io.Writer)
	pack func(w io.Writer)
	gone chan struct{} // closed at the end of the test
}

func newHostileServer() *hostileServer {
	return &hostileServer{gone: make(chan struct{}), refs: func(w io.Writer) { _, _ = io.WriteString(w, advertisement()) }}
}

// start starts the server and returns its URL.
func (h *hostileServer) start(t *testing.T) string {
	t.Helper()
	u := start(t, h)
	t.Cleanup(func() { close(h.gone) }) // before the server is closed, which waits for its handlers
	return u + "/policies"
}

func (h *hostileServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &flusher{w: w}
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		_, _ = io.WriteString(out, pkt("# service=git-upload-pack\n")+flush)
		h.refs(out)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	h.pack(out)
}

// flusher sends each write at once.
type flusher struct{ w http.ResponseWriter }

func (f *flusher) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = http.NewResponseController(f.w).Flush()
	}
	return n, err
}

// hang sends nothing until the test ends.
func (h *hostileServer) hang() { <-h.gone }

// preamble returns the lines before the pack for a request of depth 1.
func preamble() string { return pkt("shallow %s", tip) + flush + pkt("NAK\n") }

// band writes data to side-band 1, which carries the pack.
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

// packer writes a pack, one object at a time.
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

// object writes an object. size is the size that its header declares.
func (p *packer) object(kind byte, size int64, content io.Reader) {
	_, _ = p.w.Write(objectHead(kind, size))
	z, _ := zlib.NewWriterLevel(p.w, zlib.BestSpeed)
	_, _ = io.Copy(z, content)
	_ = z.Close()
}

func (p *packer) end(w io.Writer) { _, _ = w.Write(p.sum.Sum(nil)) }

// zeros returns a reader of n zero bytes.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

const (
	blobObject = 3
	refDelta   = 7
)

// packOf returns a function that answers with the pack that write writes. objects is the
// number that its header declares.
func packOf(write func(p *packer), objects uint32) func(io.Writer) {
	return func(w io.Writer) {
		_, _ = io.WriteString(w, preamble())
		p := newPacker(band{w}, objects)
		write(p)
		p.end(band{w})
		_, _ = io.WriteString(w, flush)
	}
}

// delta writes a delta of an object that does not exist. It declares the sizes of its base
// and of its result.
func (p *packer) delta(base, result int64) {
	var b bytes.Buffer
	for _, n := range []int64{base, result} {
		b.Write(binary.AppendUvarint(nil, uint64(n)))
	}
	b.WriteString("\x90\x0a") // copy ten bytes from the start
	p.reference(make([]byte, 20), b.Bytes())
}

// reference writes a delta of the object with that hash.
func (p *packer) reference(name, delta []byte) {
	_, _ = p.w.Write(append(objectHead(refDelta, int64(len(delta))), name...))
	z := zlib.NewWriter(p.w)
	_, _ = z.Write(delta)
	_ = z.Close()
}

// objectHead returns the type and size that precede an object.
func objectHead(kind byte, size int64) []byte {
	head := []byte{kind<<4 | byte(size&15)}
	for size >>= 4; size > 0; size >>= 7 {
		head[len(head)-1] |= 0x80
		head = append(head, byte(size&0x7f))
	}
	return head
}

// deltaOf writes a delta of the object with that hash, whose result is the same object.
func (p *packer) deltaOf(name []byte, size int64) {
	var b bytes.Buffer
	b.Write(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(size)), uint64(size)))
	for left := size; left > 0; left -= 0x10000 { // copy 0x10000 from an offset
		at := size - left
		b.Write([]byte{0x80 | 0x0f, byte(at), byte(at >> 8), byte(at >> 16), byte(at >> 24)})
	}
	p.reference(name, b.Bytes())
}

// fakeSSH starts an ssh server that runs serve for each session, and returns a configuration
// that fetches from it.
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
	return fakeSSHAs(t, &ssh.ServerConfig{}, signer, serve)
}

// fakeSSHAs is fakeSSH with a configuration and a host key.
func fakeSSHAs(t *testing.T, server *ssh.ServerConfig, signer ssh.Signer, serve func(ch ssh.Channel, closed <-chan struct{})) Config {
	t.Helper()
	server.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }
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
