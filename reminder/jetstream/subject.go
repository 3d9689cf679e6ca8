package jetstream

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tandem-go/tandem/reminder"
)

// The place of a reminder is "<kind>.<id>.<name>" at the end of its subjects. In each of the three,
// letters, digits, '-' and '_' stand for themselves, and every other byte is '=' and two hexadecimal
// digits. So different reminders have different places, no token is empty, and no byte means anything
// to NATS. A place has at most 3 * 3 * reminder.MaxName + 2 bytes, so a subject fits into a server's
// line of 4 KiB.
//
//	<cluster>_reminders.<birth>.<place>       the record
//	<cluster>_alarms.at.<place>.<revision>    an alarm that waits: of the record with that sequence number
//	<cluster>_alarms.due.<place>.<revision>   the same, when it has gone off

func placeOf(a reminder.Actor, name string) string { return within(a) + string(escape(nil, name)) }

// within is the beginning of the places of the reminders of an actor.
func within(a reminder.Actor) string {
	b := append(escape(nil, a.Kind), '.')
	return string(append(escape(b, a.ID), '.'))
}

func (h *home) record(place string) string { return h.prefix + "." + place }

// alarm is the subject of an alarm that waits, and due of one that has gone off.
func (h *home) alarm(place string, rev uint64) string { return h.numbered("at", place, rev) }
func (h *home) due(place string, rev uint64) string   { return h.numbered("due", place, rev) }

func (h *home) numbered(stage, place string, rev uint64) string {
	return h.alarms + "." + stage + "." + place + "." + strconv.FormatUint(rev, 10)
}

// parse returns the place and the revision in the subject of an alarm.
func (h *home) parse(subject string) (place string, rev uint64, err error) {
	rest, ok := strings.CutPrefix(subject, h.alarms+".")
	_, rest, _ = strings.Cut(rest, ".")
	end := strings.LastIndexByte(rest, '.')
	if ok && end > 0 && strings.Count(rest, ".") == 3 {
		rev, err = strconv.ParseUint(rest[end+1:], 10, 64)
		return rest[:end], rev, err
	}
	return "", 0, fmt.Errorf("the subject %s is not of an alarm", subject)
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

// token reports whether s may be a token of a subject, and a part of a stream's name.
func token(s string) bool {
	for i := range len(s) {
		if !plain(s[i]) {
			return false
		}
	}
	return s != ""
}

// plain reports whether a byte stands for itself in a token.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
