package gateway

import (
	"strconv"
	"strings"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// ParseKey returns the key that the values of HeaderKey give; empty if there are none. A value is a string of RFC 8941, §3.3.3,
// in quotes; without quotes it is taken as it is. So a key is the same at all gateways.
func ParseKey(values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	key, ok := values[0], len(values) == 1
	if strings.HasPrefix(key, `"`) {
		key, ok = unquote(key)
	}
	if !ok || key == "" || len(key) > MaxKey || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", rpc.Errorf(rpc.Invalid, rpc.NotRun, "%s must be one string of 1 to %d printable ASCII characters", HeaderKey, MaxKey)
	}
	return key, nil
}

// unquote reads a string of RFC 8941.
func unquote(text string) (string, bool) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), i == len(text)-1
		case c == '\\':
			if i++; i == len(text) || text[i] != '"' && text[i] != '\\' {
				return "", false
			}
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// ParseTimeout reads a value of HeaderTimeout. A time over most counts as that.
func ParseTimeout(text string, most time.Duration) (time.Duration, error) {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds > 0) {
		return 0, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%s must be a number of seconds above 0", HeaderTimeout)
	}
	if seconds < most.Seconds() {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	return most, nil
}

// Preference returns the value of a preference, without its parameters, in the values of the header Prefer (RFC 7240).
func Preference(values []string, name string) (value string, ok bool) {
	for _, line := range values {
		for p := range strings.SplitSeq(line, ",") {
			p, _, _ = strings.Cut(p, ";")
			key, value, _ := strings.Cut(p, "=")
			if strings.EqualFold(strings.TrimSpace(key), name) {
				return strings.Trim(strings.TrimSpace(value), `"`), true
			}
		}
	}
	return "", false
}
