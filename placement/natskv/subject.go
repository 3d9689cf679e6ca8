package natskv

import "github.com/tandem-go/tandem/placement"

// A key's subject is "<prefix>.<kind>.<id>". In kind and id, letters, digits, '-' and '_' stand for
// themselves, and every other byte is '=' and two hexadecimal digits. So different keys have
// different subjects, no token is empty, and no byte means anything to NATS. A subject has at most
// 3 * 2 * placement.MaxKey bytes behind the prefix, which a server's line of 4 KiB holds.

func subject(prefix string, key placement.Key) string {
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

// plain reports whether a byte stands for itself in a token.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
