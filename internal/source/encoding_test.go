package source

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// armorPGP and armorSSH return armored signatures as gpg and ssh-keygen write them.
func armorPGP(content []byte) string {
	return lines(slices.Concat([]string{beginPGP, ""}, wrap(base64.StdEncoding.EncodeToString(content), 64),
		[]string{"=" + base64.StdEncoding.EncodeToString(crc24(content)), "-----END PGP SIGNATURE-----"})...)
}

func armorSSH(content []byte) string {
	return lines(slices.Concat([]string{beginSSH}, wrap(base64.StdEncoding.EncodeToString(content), 70), []string{"-----END SSH SIGNATURE-----"})...)
}

func wrap(text string, width int) (list []string) {
	for chunk := range slices.Chunk([]byte(text), width) {
		list = append(list, string(chunk))
	}
	return list
}

// edit returns a change of the n-th line of a signature, counted from 0, or from the end if
// n is negative.
func edit(n int, change func(string) string) func(string) string {
	return func(signature string) string {
		all := strings.Split(strings.TrimSuffix(signature, "\n"), "\n")
		i := n
		if i < 0 {
			i += len(all)
		}
		all[i] = change(all[i])
		return lines(all...)
	}
}

func add(before, after string) func(string) string {
	return func(text string) string { return before + text + after }
}

// within returns a change of the text at the half of a line.
func within(insert string) func(string) string {
	return func(line string) string { return line[:len(line)/2] + insert + line[len(line)/2:] }
}

// binaryPGP and binarySSH return a change of the content of a signature.
func binaryPGP(change func(content []byte) []byte) func(string) string {
	return func(signature string) string {
		content, err := dearmorPGP(signature, beginPGP)
		if err != nil {
			panic(err)
		}
		return armorPGP(change(content))
	}
}

func binarySSH(change func(content []byte) []byte) func(string) string {
	return func(signature string) string {
		content, err := dearmorSSH(signature)
		if err != nil {
			panic(err)
		}
		return armorSSH(change(content))
	}
}

// packetBody returns a change of the body of a signature packet.
func packetBody(change func([]byte) []byte) func(string) string {
	return binaryPGP(func(content []byte) []byte {
		inner, err := signatureBody(content)
		if err != nil {
			panic(err)
		}
		inner = change(slices.Clone(inner))
		return append([]byte{0xc2, 0xff, byte(len(inner) >> 24), byte(len(inner) >> 16), byte(len(inner) >> 8), byte(len(inner))}, inner...)
	})
}

// unhashed returns a change of the subpackets that the signature does not cover.
func unhashed(change func(area []byte) []byte) func(string) string {
	return packetBody(func(b []byte) []byte {
		start := 6 + int(binary.BigEndian.Uint16(b[4:]))
		end := start + 2 + int(binary.BigEndian.Uint16(b[start:]))
		area := change(slices.Clone(b[start+2 : end]))
		return slices.Concat(b[:start], binary.BigEndian.AppendUint16(nil, uint16(len(area))), area, b[end:])
	})
}

// afterArea returns a change of what follows the subpackets: two bytes of the digest and
// the numbers.
func afterArea(change func([]byte) []byte) func(string) string {
	return packetBody(func(b []byte) []byte {
		start := 6 + int(binary.BigEndian.Uint16(b[4:]))
		end := start + 2 + int(binary.BigEndian.Uint16(b[start:]))
		return append(b[:end:end], change(slices.Clone(b[end:]))...)
	})
}

func sameSignature(text string) string { return text }

// pgpEncodings are other encodings of a signature by gpg. Those with a true are accepted.
var pgpEncodings = map[string]struct {
	change func(string) string
	good   bool
}{
	"as gpg writes it":      {sameSignature, true},
	"armored again":         {binaryPGP(func(b []byte) []byte { return b }), true},
	"empty line at the end": {add("", "\n"), true}, // GitHub
	"headers":               {edit(0, add("", "\nVersion: GnuPG v2\nComment: c")), true},
	"no checksum":           {func(s string) string { return s[:strings.LastIndex(s, "=")] + "-----END PGP SIGNATURE-----\n" }, true},
	"new packet header":     {packetBody(func(b []byte) []byte { return b }), true},
	"PGP MESSAGE":           {func(s string) string { return strings.ReplaceAll(s, "SIGNATURE", "MESSAGE") }, true},

	"empty line before":         {add("\n", ""), false},
	"text before":               {add("x\n", ""), false},
	"space before":              {add(" ", ""), false},
	"text after":                {add("", "x\n"), false},
	"space after":               {add("", " \n"), false},
	"text after an empty line":  {add("", "\nx\n"), false},
	"BEGIN with a space":        {edit(0, add("", " ")), false},
	"BEGIN and END with text":   {func(s string) string { return strings.ReplaceAll(s, "SIGNATURE-----", "SIGNATURE-----x") }, false},
	"END with a space":          {edit(-1, add("", " ")), false},
	"END of another kind":       {edit(-1, func(string) string { return "-----END PGP MESSAGE-----" }), false},
	"no END":                    {edit(-1, func(string) string { return "" }), false},
	"unknown header":            {edit(0, add("", "\nFoo: x")), false},
	"header without a value":    {edit(0, add("", "\nVersion")), false},
	"no empty line":             {edit(1, add("Comment: x", "")), false},
	"space for the empty line":  {edit(1, add(" ", "")), false},
	"another empty line":        {edit(1, add("", "\n")), false},
	"empty line within":         {edit(2, within("\n\n")), false},
	"wrong checksum":            {edit(-2, func(string) string { return "=AAAA" }), false},
	"long checksum":             {edit(-2, add("", "AAAA")), false},
	"two checksums":             {edit(-2, func(l string) string { return l + "\n" + l }), false},
	"space at a line's end":     {edit(2, add("", " ")), false},
	"space in a line":           {edit(2, within(" ")), false},
	"tab in a line":             {edit(2, within("\t")), false},
	"letter that is not base64": {edit(2, within("!")), false},
	"CR at a line's end":        {edit(2, add("", "\r")), false},
	"CRLF":                      {func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }, false},
	"one long line": {func(s string) string {
		content, _ := dearmorPGP(s, beginPGP)
		return lines(beginPGP, "", base64.StdEncoding.EncodeToString(content), "-----END PGP SIGNATURE-----")
	}, false},
	"padding within":             {edit(2, within("=")), false},
	"two blocks":                 {func(s string) string { return s + s }, false},
	"two packets":                {binaryPGP(func(b []byte) []byte { return append(b, b...) }), false},
	"marker packet before":       {binaryPGP(func(b []byte) []byte { return append([]byte{0xca, 3, 'P', 'G', 'P'}, b...) }), false},
	"marker packet after":        {binaryPGP(func(b []byte) []byte { return append(b, 0xca, 3, 'P', 'G', 'P') }), false},
	"private packet before":      {binaryPGP(func(b []byte) []byte { return append([]byte{0xfe, 1, 'x'}, b...) }), false},
	"private packet after":       {binaryPGP(func(b []byte) []byte { return append(b, 0xfe, 1, 'x') }), false},
	"padding packet after":       {binaryPGP(func(b []byte) []byte { return append(b, 0xd5, 1, 'x') }), false},
	"literal packet after":       {binaryPGP(func(b []byte) []byte { return append(b, 0xcb, 7, 'b', 0, 0, 0, 0, 0, 'x') }), false},
	"byte after the packet":      {binaryPGP(func(b []byte) []byte { return append(b, 0) }), false},
	"byte after the numbers":     {packetBody(func(b []byte) []byte { return append(b, 0) }), false},
	"number after the numbers":   {packetBody(func(b []byte) []byte { return append(b, 0, 1, 1) }), false},
	"version 3":                  {packetBody(func(b []byte) []byte { b[0] = 3; return b }), false},
	"version 5":                  {packetBody(func(b []byte) []byte { b[0] = 5; return b }), false},
	"other bytes of the digest":  {afterArea(func(b []byte) []byte { b[0] ^= 1; return b }), false},
	"no unhashed subpackets":     {unhashed(func([]byte) []byte { return nil }), true},
	"unknown critical subpacket": {unhashed(func(a []byte) []byte { return append(a, 2, 0x80|100, 0) }), false},
	"critical notation": {unhashed(func(a []byte) []byte {
		return append(a, 14, 0x80|20, 0x80, 0, 0, 0, 0, 3, 0, 2, 'a', '@', 'b', 'x', 'y')
	}), false},
	"another issuer":      {unhashed(func([]byte) []byte { return []byte{9, 16, 1, 2, 3, 4, 5, 6, 7, 8} }), false},
	"another issuer also": {unhashed(func(a []byte) []byte { return append([]byte{9, 16, 1, 2, 3, 4, 5, 6, 7, 8}, a...) }), false},
	"another fingerprint": {unhashed(func(a []byte) []byte { return append(append(a, 22, 33, 4), make([]byte, 20)...) }), false},
	"subpacket cut off":   {unhashed(func(a []byte) []byte { return append(a, 9, 16, 1) }), false},
	"number with a leading zero": {afterArea(func(b []byte) []byte {
		bits := binary.BigEndian.Uint16(b[2:])
		return slices.Concat(b[:2], binary.BigEndian.AppendUint16(nil, (bits+15)/8*8), []byte{0}, b[4:])
	}), false},
}

// sshEncodings are other encodings of a signature by ssh-keygen.
var sshEncodings = map[string]struct {
	change func(string) string
	good   bool
}{
	"as ssh-keygen writes it": {sameSignature, true},
	"armored again":           {binarySSH(func(b []byte) []byte { return b }), true},
	"one long line": {func(s string) string {
		content, _ := dearmorSSH(s)
		return lines(beginSSH, base64.StdEncoding.EncodeToString(content), "-----END SSH SIGNATURE-----")
	}, true},
	"empty line at the end": {add("", "\n"), true},

	"empty line before":       {add("\n", ""), false},
	"text before":             {add("x\n", ""), false},
	"text after":              {add("", "x\n"), false},
	"header":                  {edit(0, add("", "\nComment: x\n")), false},
	"header without a line":   {edit(0, add("", "\nComment: x")), false},
	"empty line after BEGIN":  {edit(0, add("", "\n")), false},
	"empty line before END":   {edit(-1, add("\n", "")), false},
	"BEGIN with a space":      {edit(0, add("", " ")), false},
	"END with a space":        {edit(-1, add("", " ")), false},
	"no END":                  {edit(-1, func(string) string { return "x" }), false},
	"space in a line":         {edit(1, within(" ")), false},
	"space at a line's end":   {edit(1, add("", " ")), false},
	"CR at a line's end":      {edit(1, add("", "\r")), false},
	"CRLF":                    {func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }, false},
	"checksum":                {edit(-1, add("=AAAA\n", "")), false},
	"padding within":          {edit(1, within("=")), false},
	"two blocks":              {func(s string) string { return s + s }, false},
	"byte after":              {binarySSH(func(b []byte) []byte { return append(b, 0) }), false},
	"byte in the signature":   {sshBlob(func(s *sshsig.Signature) { s.Signature.Rest = []byte{0} }), false},
	"counter in it":           {sshBlob(func(s *sshsig.Signature) { s.Signature.Rest = []byte{1, 0, 0, 0, 1} }), false},
	"byte in its numbers":     {sshBlob(func(s *sshsig.Signature) { s.Signature.Blob = append(s.Signature.Blob, 0) }), false},
	"another format":          {sshBlob(func(s *sshsig.Signature) { s.Signature.Format = ssh.KeyAlgoRSA }), false},
	"another version":         {sshBlob(func(s *sshsig.Signature) { s.Version = 2 }), false},
	"another digest":          {sshBlob(func(s *sshsig.Signature) { s.HashAlgorithm = "sha256" }), false},
	"text in the reserved":    {binarySSH(reserved), false},
	"magic of another format": {binarySSH(func(b []byte) []byte { b[0] = 's'; return b }), false},
}

func sshBlob(change func(*sshsig.Signature)) func(string) string {
	return binarySSH(func(content []byte) []byte {
		s, err := sshsig.ParseSignature(content)
		if err != nil {
			panic(err)
		}
		change(s)
		return s.Marshal()
	})
}

// reserved puts a byte into the reserved field, which follows the namespace "git".
func reserved(content []byte) []byte {
	at := bytes.Index(content, []byte("\x00\x00\x00\x03git")) + 7
	return slices.Concat(content[:at], []byte{0, 0, 0, 1, 'x'}, content[at+4:])
}

// TestEncodings: of all encodings of a good signature nfsync accepts none that git refuses.
func TestEncodings(t *testing.T) {
	s := newSigning(t)
	alice := s.pgpKey("alice", "ed25519", "sign", "", "")
	bob := s.pgpKey("bob", "rsa2048", "sign", "", "")
	list := s.write("signers", "alice@example.com "+s.sshKey("carol", "-t", "ed25519")+"\nalice@example.com "+s.sshKey("dave", "-t", "ecdsa")+
		"\nalice@example.com "+s.sshKey("erin", "-t", "rsa", "-b", "2048")+"\n")
	v := Verify{Mode: VerifyTip, Keyrings: []string{s.export("keys.asc", alice, bob)}, AllowedSigners: []string{list}}
	check := func(t *testing.T, c *commit, good bool) {
		t.Helper()
		_, _, err := verifyAt(v, only(c), time.Now())
		if (err == nil) != good {
			t.Errorf("the error is %v", err)
		}
		if (err == nil || good) && !s.gitAccepts(c, list) {
			t.Error("git refuses it")
		}
	}
	for name, settings := range map[string][]string{"ed25519": pgp(alice), "rsa": pgp(bob)} {
		c := s.commit(settings...)
		for what, e := range pgpEncodings {
			t.Run(name+"/"+what, func(t *testing.T) {
				check(t, s.signedAs(c, e.change(signatureOf(c))), e.good)
			})
		}
	}
	for _, name := range []string{"carol", "dave", "erin"} {
		c := s.commit(s.ssh(name)...)
		for what, e := range sshEncodings {
			t.Run(name+"/"+what, func(t *testing.T) { check(t, s.signedAs(c, e.change(signatureOf(c))), e.good) })
		}
	}
	for name, c := range map[string]*commit{"pgp": s.commit(pgp(alice)...), "ssh": s.commit(s.ssh("carol")...)} {
		end := strings.Index(c.raw, "\n\n")
		for what, e := range map[string]struct {
			insert string
			good   bool
		}{
			"signature for sha256":         {"\ngpgsig-sha256 x\n y", true},
			"empty second signature":       {"\ngpgsig ", false},
			"second signature":             {"\ngpgsig x", false},
			"second signature for sha256":  {"\ngpgsig-sha256 x\ngpgsig-sha256 y", false},
			"signature of an unknown kind": {"\ngpgsig-sha512 x", false},
			"a name that begins so":        {"\ngpgsigx y", false},
			"a name without a value":       {"\ngpgsig", false},
			"another header":               {"\nx y", false},
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				check(t, s.rewrite(c, func(text string) string { return text[:end] + e.insert + text[end:] }), e.good)
			})
		}
		t.Run(name+"/empty first signature", func(t *testing.T) {
			check(t, s.rewrite(c, replace("gpgsig ", "gpgsig \ngpgsig ")), false)
		})
	}
	// Headers that are covered and stand behind the signature.
	plain := s.commit("commit.gpgSign=false")
	for what, e := range map[string]struct {
		behind string
		good   bool
	}{"a header behind": {"x y\n", true}, "a long header behind": {"x y\n z\n", true}} {
		t.Run(what, func(t *testing.T) {
			with := s.rewrite(plain, replace("\n\n", "\n"+e.behind+"\n"))
			signature := s.pipe(s.commitText(with), "gpg", "--batch", "--armor", "--detach-sign", "-u", alice+"!")
			header := "gpgsig " + strings.ReplaceAll(strings.TrimSuffix(signature, "\n"), "\n", "\n ") + "\n"
			check(t, s.rewrite(with, replace(e.behind+"\n", header+e.behind+"\n")), e.good)
		})
	}
}

// signedAs stores a copy of a commit with another encoding of its signature.
func (s *signing) signedAs(c *commit, signature string) *commit {
	s.t.Helper()
	hash := s.pipe(withEncoding(c, signature), "git", "-C", s.repo, "hash-object", "-t", "commit", "-w", "--stdin", "--literally")
	return s.read(strings.TrimSpace(hash))
}

// withEncoding returns a commit with another encoding of its signature.
func withEncoding(c *commit, signature string) string {
	headers, message, _ := strings.Cut(c.raw, "\n\n")
	headers, _, _ = strings.Cut(headers, "\ngpgsig ")
	return headers + "\ngpgsig " + strings.ReplaceAll(strings.TrimSuffix(signature, "\n"), "\n", "\n ") + "\n\n" + message
}

// FuzzEncoding checks that git accepts every encoding of a good signature that nfsync
// accepts.
func FuzzEncoding(f *testing.F) {
	s := newSigning(f)
	alice := s.pgpKey("alice", "ed25519", "sign", "", "")
	list := s.write("signers", "* "+s.sshKey("carol", "-t", "ed25519"))
	keys, _, err := readTrustedKeys(Verify{Keyrings: []string{s.export("keys.gpg", alice)}, AllowedSigners: []string{list}})
	if err != nil {
		f.Fatal(err)
	}
	signed := s.commit("commit.gpgSign=false")
	pgpSigned := s.signedAs(signed, s.pipe(s.commitText(signed), "gpg", "--batch", "--armor", "--detach-sign", "-u", alice+"!"))
	for _, c := range []*commit{pgpSigned, s.sshSigned(signed, "git", "carol")} {
		f.Add([]byte(signatureOf(c)), true)
		for _, e := range pgpEncodings {
			if c == pgpSigned {
				f.Add([]byte(e.change(signatureOf(c))), true)
			}
		}
	}
	content, err := dearmorPGP(signatureOf(pgpSigned), beginPGP)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content, false)
	f.Fuzz(func(t *testing.T, signature []byte, armored bool) {
		text := string(signature)
		if !armored {
			text = armorPGP(signature)
		}
		c, err := parseCommit(signed.hash, withEncoding(signed, text))
		if err != nil {
			return
		}
		if _, err := keys.check(c, time.Now()); err != nil {
			return
		}
		inner := *s
		inner.t = t
		if !inner.gitAccepts(inner.signedAs(signed, text), list) {
			t.Errorf("git refuses %q", text)
		}
	})
}
