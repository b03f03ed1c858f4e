package source

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// This file reads the armor of signatures. It accepts only what the programs that sign
// write: gpg, ssh-keygen and git each read a little more than that, and not the same.

// armorLines returns the lines between the BEGIN and the END line of an armored block. Only
// empty lines may follow it; GitHub writes one.
func armorLines(armored, begin string) ([]string, error) {
	text := strings.TrimRight(armored, "\n")
	lines := strings.Split(text, "\n")
	end := strings.Replace(begin, "BEGIN", "END", 1)
	switch last := len(lines) - 1; {
	case lines[0] != begin:
		return nil, errors.New("not an armored block")
	case !slices.Contains(lines, end):
		return nil, errors.New("an armored block without an end")
	case slices.Index(lines, end) < last:
		return nil, errors.New("text follows it, or several signatures")
	default:
		return lines[1:last], nil
	}
}

// decodeLines decodes lines of base64.
func decodeLines(lines []string) ([]byte, error) {
	for _, line := range lines {
		if line == "" || strings.Contains(line, "\r") {
			return nil, errors.New("it has an empty line or a carriage return")
		}
	}
	return base64.StdEncoding.Strict().DecodeString(strings.Join(lines, ""))
}

// dearmorSSH returns the content of an armored SSH signature.
func dearmorSSH(armored string) ([]byte, error) {
	lines, err := armorLines(armored, beginSSH)
	if err != nil {
		return nil, err
	}
	return decodeLines(lines)
}

// armorHeaders are the headers of OpenPGP armor (RFC 9580, section 6.2.2).
var armorHeaders = []string{"Version", "Comment", "MessageID", "Hash", "Charset"}

// longestArmorLine bounds a line of OpenPGP armor (RFC 9580, section 6.2.3).
const longestArmorLine = 76

// dearmorPGP returns the content of an armored OpenPGP signature.
func dearmorPGP(armored, begin string) ([]byte, error) {
	lines, err := armorLines(armored, begin)
	if err != nil {
		return nil, err
	}
	empty := slices.Index(lines, "")
	if empty < 0 {
		return nil, errors.New("no empty line follows the armor headers")
	}
	for _, line := range lines[:empty] {
		if name, _, ok := strings.Cut(line, ": "); !ok || !slices.Contains(armorHeaders, name) {
			return nil, fmt.Errorf("%q is not an armor header", clean(line))
		}
	}
	lines = lines[empty+1:]
	sum, hasSum := "", false
	if last := len(lines) - 1; last >= 0 {
		if sum, hasSum = strings.CutPrefix(lines[last], "="); hasSum {
			lines = lines[:last]
		}
	}
	if slices.ContainsFunc(lines, func(line string) bool { return len(line) > longestArmorLine }) {
		return nil, fmt.Errorf("a line is longer than %d characters", longestArmorLine)
	}
	content, err := decodeLines(lines)
	if err != nil {
		return nil, err
	}
	if want, err := base64.StdEncoding.Strict().DecodeString(sum); hasSum && (err != nil || !bytes.Equal(want, crc24(content))) {
		return nil, errors.New("its checksum is wrong")
	}
	return content, nil
}

// crc24 returns the checksum of OpenPGP armor (RFC 9580, section 6.1.1).
func crc24(content []byte) []byte {
	crc := uint32(0xb704ce)
	for _, b := range content {
		crc ^= uint32(b) << 16
		for range 8 {
			if crc <<= 1; crc&0x1000000 != 0 {
				crc ^= 0x1864cfb
			}
		}
	}
	return []byte{byte(crc >> 16), byte(crc >> 8), byte(crc)}
}
