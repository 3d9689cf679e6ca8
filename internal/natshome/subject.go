package natshome

import (
	"fmt"
	"strings"
)

// Subject returns the subject of a key, such as a kind and an id: "<root>.<birth>.<kind>.<id>". In each
// text, letters, digits, '-' and '_' stand for themselves, and every other byte is '=' and two
// hexadecimal digits. So different keys have different subjects, no token of a text that is not empty is
// empty, and no byte means anything to NATS. A subject has at most three bytes for each of the key's,
// and a server takes a line of 4 KiB.
func (h *Home) Subject(key ...string) string { return subject(h.prefix, key...) }

// Tokens returns a key as it is in Subject, without what is before it.
func Tokens(key ...string) string { return subject("", key...)[1:] }

func subject(prefix string, key ...string) string {
	n := len(prefix) + 16
	for _, text := range key {
		n += len(text) + 1
	}
	b := append(make([]byte, 0, n), prefix...)
	for _, text := range key {
		b = escape(append(b, '.'), text)
	}
	return string(b)
}

// ID returns the id in a subject that Subject has returned for the kind.
func (h *Home) ID(kind, subject string) (string, error) {
	return unescape(strings.TrimPrefix(subject, h.Subject(kind, "")))
}

const hexDigits = "0123456789abcdef"

func escape(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; plain(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '=', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return dst
}

// unescape returns the text that escape made into t.
func unescape(t string) (string, error) {
	b := make([]byte, 0, len(t))
	for i := 0; i < len(t); i++ {
		switch {
		case plain(t[i]):
			b = append(b, t[i])
		case t[i] == '=' && i+2 < len(t) && digit(t[i+1]) < 16 && digit(t[i+2]) < 16:
			b = append(b, digit(t[i+1])<<4|digit(t[i+2]))
			i += 2
		default:
			return "", fmt.Errorf("the token %q is not of this store", t)
		}
	}
	return string(b), nil
}

// digit returns the value of a hexadecimal digit as escape writes it, or 16 and more.
func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 16
}

// plain reports whether a byte stands for itself in a token.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// Plain reports whether s may be a token of a subject, and a part of a stream's name.
func Plain(s string) bool {
	for i := range len(s) {
		if !plain(s[i]) {
			return false
		}
	}
	return s != ""
}
