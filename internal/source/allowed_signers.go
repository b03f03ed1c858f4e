package source

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// allowedSigners holds the trusted SSH keys: see ALLOWED SIGNERS in ssh-keygen(1).
type allowedSigners struct {
	files []string
	list  []allowedSigner
}

// allowedSigner is one line of a file of allowed signers.
type allowedSigner struct {
	place      string // file:line
	principals string // patterns; one must match the committer's e-mail address
	key        ssh.PublicKey
	namespaces *string   // patterns; nil: any namespace
	after      time.Time // zero: no limit
	before     time.Time
}

// readAllowedSigners reads files of SSH keys. A line of a certificate authority, and one that
// cannot be parsed, is skipped with a warning, as ssh-keygen skips it: its key is not trusted.
// A file without a usable line is an error.
func readAllowedSigners(files []string) (signers allowedSigners, warnings []string, err error) {
	signers.files = files
	for _, name := range files {
		data, err := readKeyFile(name)
		if err != nil {
			return allowedSigners{}, warnings, fmt.Errorf("cannot read allowed signers: %w", err)
		}
		list, more, err := parseAllowedSigners(name, data)
		if err != nil {
			return allowedSigners{}, warnings, fmt.Errorf("cannot read allowed signers: %w", err)
		}
		signers.list, warnings = append(signers.list, list...), append(warnings, more...)
	}
	return signers, warnings, nil
}

func parseAllowedSigners(name string, data []byte) (list []allowedSigner, warnings []string, err error) {
	for number, line := range strings.Split(string(data), "\n") {
		line = strings.Trim(line, " \t\r")
		if line == "" || line[0] == '#' {
			continue
		}
		place := fmt.Sprintf("%s:%d", name, number+1)
		signer, err := parseSigner(line)
		switch {
		case errors.Is(err, errAuthority):
			warnings = append(warnings, fmt.Sprintf("%s: %v", place, err))
			continue
		case err != nil:
			warnings = append(warnings, fmt.Sprintf("%s: %v; the line is skipped", place, err))
			continue
		}
		signer.place = place
		list = append(list, signer)
	}
	if len(list) == 0 {
		if len(warnings) > 0 {
			return nil, nil, errors.New(strings.Join(warnings, "; "))
		}
		return nil, nil, fmt.Errorf("%s lists no key; a line is: EMAIL ssh-ed25519 AAAA…", name)
	}
	return list, warnings, nil
}

var errNoKey = errors.New("the line has no key")

var errAuthority = errors.New("cert-authority is not supported: no key that it certifies is trusted; list the keys themselves, one on each line")

// parseSigner parses "principals [options] type key [comment]".
func parseSigner(line string) (s allowedSigner, err error) {
	if s.principals, line, err = cutPrincipals(line); err != nil {
		return allowedSigner{}, err
	}
	word, rest := cutWord(line)
	if word == "" {
		return allowedSigner{}, errNoKey
	}
	authority := false
	if !slices.Contains(keyTypes, word) {
		if authority, err = s.parseOptions(word); err != nil {
			return allowedSigner{}, err
		}
		word, rest = cutWord(rest)
	}
	encoded, _ := cutWord(rest)
	if s.key, err = parseKey(word, encoded); err != nil {
		return allowedSigner{}, err
	}
	if authority {
		return allowedSigner{}, errAuthority
	}
	return s, nil
}

// cutPrincipals cuts off the first word, which may be quoted.
func cutPrincipals(line string) (principals, rest string, err error) {
	if quoted, ok := strings.CutPrefix(line, `"`); ok {
		principals, rest, ok = strings.Cut(quoted, `"`)
		if !ok {
			return "", "", errors.New("a quote is not closed")
		}
	} else {
		principals, rest = cutWord(line)
	}
	if principals == "" || strings.Contains(principals, `"`) {
		return "", "", errors.New("the line must begin with the owner of the key: EMAIL or a pattern")
	}
	return principals, strings.TrimLeft(rest, " \t"), nil
}

// cutWord cuts off the text before the first white space outside quotes. A backslash
// escapes a quote.
func cutWord(line string) (word, rest string) {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && i+1 < len(line) && line[i+1] == '"':
			i++
		case line[i] == '"':
			quoted = !quoted
		case (line[i] == ' ' || line[i] == '\t') && !quoted:
			return line[:i], strings.TrimLeft(line[i:], " \t")
		}
	}
	return line, ""
}

// parseOptions parses the options of a line. All but cert-authority have a quoted value and
// may be given once.
func (s *allowedSigner) parseOptions(text string) (authority bool, err error) {
	for _, option := range splitOptions(text) {
		name, value, _ := strings.Cut(option, "=")
		name = strings.ToLower(name)
		if name == "cert-authority" {
			authority = true
			continue
		}
		if value, err = unquote(name, value); err != nil {
			return false, err
		}
		switch {
		case name == "namespaces" && s.namespaces == nil:
			s.namespaces = &value
		case name == "valid-after" && s.after.IsZero():
			s.after, err = parseTime(value)
		case name == "valid-before" && s.before.IsZero():
			s.before, err = parseTime(value)
		default:
			return false, fmt.Errorf("the option %s is given twice", name)
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
	}
	if !s.after.IsZero() && !s.before.IsZero() && !s.before.After(s.after) {
		return false, errors.New("valid-before is not after valid-after: the key is never valid")
	}
	return authority, nil
}

// splitOptions splits at the commas that are not between quotes.
func splitOptions(text string) []string {
	var options []string
	quoted, start := false, 0
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && text[i+1] == '"':
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == ',' && !quoted:
			options = append(options, text[start:i])
			start = i + 1
		}
	}
	return append(options, text[start:])
}

var optionNames = []string{"cert-authority", "namespaces", "valid-after", "valid-before"}

// unquote returns the value of the option name without its quotes.
func unquote(name, value string) (string, error) {
	if !slices.Contains(optionNames, name) {
		return "", fmt.Errorf("%q is neither a type of SSH keys nor an option; the options are %s", clean(name), strings.Join(optionNames, ", "))
	}
	inner, opened := strings.CutPrefix(value, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	if !opened || !closed || strings.Contains(strings.ReplaceAll(inner, `\"`, ""), `"`) {
		return "", fmt.Errorf("the value of %s must be quoted: %s=\"…\"", name, name)
	}
	return strings.ReplaceAll(inner, `\"`, `"`), nil
}

// parseTime parses a time as ssh-keygen does: in the local time zone, or in UTC if it ends
// in Z.
func parseTime(text string) (time.Time, error) {
	digits, zone := text, time.Local
	if rest, ok := strings.CutSuffix(strings.ToUpper(text), "Z"); ok {
		digits, zone = rest, time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(digits) != len(layout) {
			continue
		}
		if t, err := time.ParseInLocation(layout, digits, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 20260131, 202601311200 or 20260131120000Z", clean(text))
}

// keyTypes are the types of keys that can be trusted.
var keyTypes = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoRSA,
	ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256,
}

func parseKey(keyType, encoded string) (ssh.PublicKey, error) {
	if keyType == "" {
		return nil, errNoKey
	}
	if !slices.Contains(keyTypes, keyType) {
		return nil, fmt.Errorf("%q is not a type of keys that can be trusted: use one of %s", clean(keyType), strings.Join(keyTypes, ", "))
	}
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("the key is damaged: %s", clean(err.Error()))
	}
	key, err := ssh.ParsePublicKey(data)
	if err != nil {
		return nil, fmt.Errorf("the key is damaged: %s", clean(err.Error()))
	}
	if key.Type() != keyType {
		return nil, fmt.Errorf("the key is of type %s, not %s", clean(key.Type()), keyType)
	}
	return key, nil
}

// gitNamespace is the namespace in which git signs commits.
const gitNamespace = "git"

// check returns who made a signature, or why it is not accepted. As with git, a key must be
// valid at the committer's date. Unlike with git, the committer's e-mail address must match
// the principals of the key.
func (s allowedSigners) check(message []byte, armored string, committer identity) (signer string, err error) {
	signature, err := readSSHSignature(armored)
	if err != nil {
		return "", fmt.Errorf("its SSH signature cannot be read: %s; %s", clean(err.Error()), remedyTrustedKey)
	}
	by := "SSH key " + ssh.FingerprintSHA256(signature.PublicKey)
	lines := s.linesWith(signature.PublicKey)
	if len(lines) == 0 {
		return "", s.unknownKeyError(by, signature.PublicKey)
	}
	if signature.Namespace != gitNamespace {
		return "", fmt.Errorf("its signature by %s was made for %q, not for git; %s", by, clean(signature.Namespace), remedySign)
	}
	if bits := rsaBits(signature.PublicKey); bits > 0 && bits < minRSABits {
		return "", fmt.Errorf("it is signed with %s, an RSA key of %d bits, which is too short to be trusted; %s", by, bits, remedyTrustedKey)
	}
	if err := sshsig.Verify(bytes.NewReader(message), signature, signature.PublicKey, signature.HashAlgorithm, gitNamespace); err != nil {
		return "", fmt.Errorf("its signature by %s is wrong: the commit is not what was signed; do not use it, and ask who pushed it", by)
	}
	var refusals []string
	for _, line := range lines {
		why := line.refusal(committer)
		if why == "" {
			return fmt.Sprintf("%s of %s", by, clean(committer.email)), nil
		}
		refusals = append(refusals, why)
	}
	return "", fmt.Errorf("it is signed with %s, %s", by, strings.Join(refusals, "; "))
}

// readSSHSignature reads an armored signature and nothing else.
func readSSHSignature(armored string) (*sshsig.Signature, error) {
	content, err := dearmorSSH(armored)
	if err != nil {
		return nil, err
	}
	s, err := sshsig.ParseSignature(content)
	if err != nil {
		return nil, err
	}
	securityKey := strings.HasPrefix(s.PublicKey.Type(), "sk-") // its signatures end in flags and a counter
	if !bytes.Equal(s.Marshal(), content) || !securityKey && len(s.Signature.Rest) > 0 {
		return nil, errors.New("it is not as ssh-keygen writes it")
	}
	return s, nil
}

// linesWith returns the lines that list a key.
func (s allowedSigners) linesWith(key ssh.PublicKey) []allowedSigner {
	var lines []allowedSigner
	for _, line := range s.list {
		if bytes.Equal(line.key.Marshal(), key.Marshal()) {
			lines = append(lines, line)
		}
	}
	return lines
}

// longestLine bounds the line that a message says to add. Elliptic keys fit, RSA keys do
// not.
const longestLine = 240

func (s allowedSigners) unknownKeyError(by string, key ssh.PublicKey) error {
	if certificate, ok := key.(*ssh.Certificate); ok {
		return fmt.Errorf("it is signed with a certificate (%q) for SSH key %s, and certificates are not supported; sign it with a key that is listed itself",
			clean(certificate.KeyId), ssh.FingerprintSHA256(certificate.Key))
	}
	line := "EMAIL " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	if len(line) > longestLine {
		line = "EMAIL " + key.Type() + " AAAA…"
	}
	if len(s.files) == 0 {
		return fmt.Errorf("it is signed with %s, and no file of allowed signers is configured; name one, with the line: %s", by, line)
	}
	return fmt.Errorf("it is signed with %s, which is in none of %s; if that key is to be trusted, add the line: %s",
		by, strings.Join(s.files, ", "), line)
}

func rsaBits(key ssh.PublicKey) int {
	if holder, ok := key.(ssh.CryptoPublicKey); ok {
		if public, ok := holder.CryptoPublicKey().(*rsa.PublicKey); ok {
			return public.N.BitLen()
		}
	}
	return 0
}

// refusal returns why the line does not allow its key for a commit, or "".
func (s allowedSigner) refusal(committer identity) string {
	at := committer.when
	switch {
	case at.Unix() <= 0 || at.UTC().Year() > 9999:
		// git passes no such date to ssh-keygen, which then takes the time now, or none.
		return fmt.Sprintf("and the commit is dated %s, which ssh-keygen does not compare with a key's validity; %s", formatTime(at), remedySign)
	case !matchList(s.principals, committer.email):
		return fmt.Sprintf("which %s allows for %q, not for the committer, %q; set user.email and commit again, or add the address there", s.place, clean(s.principals), clean(committer.email))
	case s.namespaces != nil && !matchList(*s.namespaces, gitNamespace):
		return fmt.Sprintf("which %s allows for namespaces %q, not for git; add git there, or %s", s.place, clean(*s.namespaces), remedyTrustedKey)
	case !s.after.IsZero() && at.Before(s.after):
		return fmt.Sprintf("which %s allows from %s on, and the commit is dated %s; %s", s.place, formatTime(s.after), formatTime(at), remedyTrustedKey)
	case !s.before.IsZero() && at.After(s.before):
		return fmt.Sprintf("which %s allows until %s, and the commit is dated %s; %s", s.place, formatTime(s.before), formatTime(at), remedyTrustedKey)
	}
	return ""
}

// matchList reports whether a text matches one of a comma-separated list of patterns, and
// none of those that begin with ! (PATTERNS in ssh_config(5)).
func matchList(patterns, text string) bool {
	matches := false
	for pattern := range strings.SplitSeq(patterns, ",") {
		pattern, not := strings.CutPrefix(pattern, "!")
		if matchPattern(pattern, text) {
			if not {
				return false
			}
			matches = true
		}
	}
	return matches
}

// matchPattern reports whether a whole text matches a pattern: * matches any characters, ?
// matches one. It backtracks only to the last *, so no pattern takes long.
func matchPattern(pattern, text string) bool {
	p, t, star, resume := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p, t = p+1, t+1
		case star >= 0:
			resume++
			p, t = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
