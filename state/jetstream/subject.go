package jetstream

import (
	"fmt"

	"github.com/tandem-go/tandem/state"
)

// A key's subject is "<prefix>.<kind>.<id>". In kind and id, letters, digits, '-' and '_' stand for
// themselves, and every other byte is '=' and two hexadecimal digits. So different keys have
// different subjects, no token is empty, and no byte means anything to NATS. A subject has at most
// 3 * 2 * state.MaxKey bytes behind the prefix, which a server's line of 4 KiB holds.

func subject(prefix string, key state.Key) string {
	b := make([]byte, 0, len(prefix)+len(key.Kind)+len(key.ID)+16)
	b = append(append(b, prefix...), '.')
	b = append(escape(b, key.Kind), '.')
	return string(escape(b, key.ID))
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
