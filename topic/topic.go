// Package topic has the names of topics, the patterns that match them, and an index of patterns.
//
// A name is a row of tokens with dots between them: "prices.eur". In a pattern, the token "*"
// stands for any one token, and ">", as the last one, for one or more: "prices.*" and "prices.>"
// both match "prices.eur", and only the second matches "prices.eur.spot". A name is also a
// pattern, which matches itself. These are the rules of NATS subjects.
//
// Messages of durable topics are kept in a Store. Package topic/jetstream has one.
//
// The package has no lock, clock, goroutine or I/O. It imports only the standard library. Package
// actor publishes and subscribes: actor.NewTopic.
package topic

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of names and patterns.
const (
	MaxLength = 255 // bytes of a name, a pattern, and the name of a group
	MaxTokens = 16  // tokens of a name or a pattern
)

// Sentinels that the errors of this package wrap.
var (
	ErrName    = errors.New("topic: not the name of a topic")
	ErrPattern = errors.New("topic: not a pattern of topics")
	ErrOption  = errors.New("topic: not an option of a subscription")
)

// ValidName returns nil if s is a name, else an error that wraps ErrName: 1 to MaxTokens tokens
// with dots between them, at most MaxLength bytes in all. A token is UTF-8 text of at least one
// byte, without white space, control characters, "*" and ">".
func ValidName(s string) error {
	if why := flaw(s, false); why != "" {
		return fmt.Errorf("%w: %.300q: %s", ErrName, s, why)
	}
	return nil
}

// ValidPattern returns nil if s is a pattern, else an error that wraps ErrPattern. A pattern is a
// name some of whose tokens are "*", and whose last one may be ">".
func ValidPattern(s string) error {
	if why := flaw(s, true); why != "" {
		return fmt.Errorf("%w: %.300q: %s", ErrPattern, s, why)
	}
	return nil
}

// flaw says what is wrong with a name or a pattern; empty: nothing.
func flaw(s string, wild bool) string {
	if s == "" || len(s) > MaxLength {
		return fmt.Sprintf("it has %d bytes, want 1 to %d", len(s), MaxLength)
	}
	if !utf8.ValidString(s) {
		return "it is not UTF-8"
	}
	tokens := 0
	for rest, more := s, true; more; tokens++ {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		switch {
		case token == "":
			return "a token is empty"
		case wild && token == "*":
		case wild && token == ">" && more:
			return `">" is not the last token`
		case wild && token == ">":
		case strings.ContainsFunc(token, unfit):
			return fmt.Sprintf("token %q has a character that it may not have", token)
		}
	}
	if tokens > MaxTokens {
		return fmt.Sprintf("it has %d tokens, want 1 to %d", tokens, MaxTokens)
	}
	return ""
}

func unfit(r rune) bool { return r == '*' || r == '>' || unicode.IsSpace(r) || unicode.IsControl(r) }

// Match reports whether a valid pattern matches a valid name. name may also be a pattern: then
// Match reports whether pattern matches every name that the other one matches.
func Match(pattern, name string) bool {
	for {
		want, wants, more := strings.Cut(pattern, ".")
		got, gets, left := strings.Cut(name, ".")
		switch {
		case want == ">":
			return true
		case got == ">" || want != "*" && want != got:
			return false
		case !more || !left:
			return more == left
		}
		pattern, name = wants, gets
	}
}
