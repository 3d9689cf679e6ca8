package jetstream

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tandem-go/tandem/internal/natshome"
	"github.com/tandem-go/tandem/reminder"
)

// The place of a reminder is "<kind>.<id>.<name>" at the end of its subjects, as natshome.Tokens returns
// it. It has at most 3 * 3 * reminder.MaxName + 2 bytes, so a subject fits into a server's line of 4 KiB.
//
//	<cluster>_reminders.<birth>.<place>       the record
//	<cluster>_alarms.at.<place>.<revision>    an alarm that waits: of the record with that sequence number
//	<cluster>_alarms.due.<place>.<revision>   the same, when it has gone off

func placeOf(a reminder.Actor, name string) string { return natshome.Tokens(a.Kind, a.ID, name) }

// anyName is the place of all reminders of an actor.
func anyName(a reminder.Actor) string { return natshome.Tokens(a.Kind, a.ID) + ".*" }

// names are those of the two streams of a cluster, and of the subjects in them.
type names struct {
	records string // the stream of records
	prefix  string // of their subjects, with the birth of that stream
	alarms  string // the stream of alarms, and prefix of its subjects
}

func (n *names) record(place string) string { return n.prefix + "." + place }

// alarm is the subject of an alarm that waits, and due of one that has gone off.
func (n *names) alarm(place string, rev uint64) string { return n.numbered("at", place, rev) }
func (n *names) due(place string, rev uint64) string   { return n.numbered("due", place, rev) }

func (n *names) numbered(stage, place string, rev uint64) string {
	return n.alarms + "." + stage + "." + place + "." + strconv.FormatUint(rev, 10)
}

// parse returns the place and the revision in the subject of an alarm.
func (n *names) parse(subject string) (place string, rev uint64, err error) {
	rest, ok := strings.CutPrefix(subject, n.alarms+".")
	_, rest, _ = strings.Cut(rest, ".")
	end := strings.LastIndexByte(rest, '.')
	if ok && end > 0 && strings.Count(rest, ".") == 3 {
		rev, err = strconv.ParseUint(rest[end+1:], 10, 64)
		return rest[:end], rev, err
	}
	return "", 0, fmt.Errorf("the subject %s is not of an alarm", subject)
}

// mark is the subject of the message that was stored before all alarms. If it is not there, they were lost.
// natshome.Tokens returns no such token.
func (n *names) mark() string { return n.alarms + ".=mark" }
