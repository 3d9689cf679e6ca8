package jetstream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/reminder"
)

// home is where the reminders of a cluster are: a stream of records, which is told from any other of
// the same name, and a stream of alarms, which is derived from it. The birth of the records is a random
// token in their subjects, which they keep when they are restored from a backup. So a change for a
// stream that was deleted does not find its way into the next one.
type home struct {
	name    string // of the records
	birth   string
	prefix  string // of their subjects: "<name>.<birth>"
	created time.Time
	records natsjs.Stream // only for reading messages

	alarms   string // name of the stream of alarms, and prefix of its subjects
	replicas int
}

// Metadata of the stream of alarms.
const (
	ofBirth   = "tandem-birth"   // the birth of the records
	ofCreated = "tandem-created" // when they were created
)

// markToken is the only token behind the prefix of a subject whose message was stored before any other
// of its stream. If it is not there, messages were lost.
const markToken = "=mark"

// findHome finds the streams. That of the alarms is created last: if it is there, there may be records,
// and they are not created any more. If it is not there, there are none, or an operator trusts what is
// there.
func findHome(ctx context.Context, js natsjs.JetStream, cluster string, replicas int) (home, error) {
	h := home{name: cluster + "_reminders", alarms: cluster + "_alarms", replicas: replicas}
	a, err := js.Stream(ctx, h.alarms)
	if err != nil && !errors.Is(err, natsjs.ErrStreamNotFound) {
		return h, err
	}
	if err == nil {
		return h.existing(ctx, js, a)
	}
	s, err := js.Stream(ctx, h.name)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		s, err = createRecords(ctx, js, h.name, replicas)
	}
	if err != nil {
		return h, err
	}
	if err := h.describe(s); err != nil {
		return h, final{err}
	}
	if err := mark(ctx, js, h.prefix); err != nil {
		return h, err
	}
	if a, err = h.createAlarms(ctx, js); err != nil {
		return h, err
	}
	return h.existing(ctx, js, a)
}

// mark stores the first message of a stream, if it is not there.
func mark(ctx context.Context, js natsjs.JetStream, prefix string) error {
	_, err := js.Publish(ctx, prefix+"."+markToken, nil, natsjs.WithExpectLastSequencePerSubject(0))
	if jserror.Of(err).Cause == jserror.Conflict {
		return nil
	}
	return err
}

func createRecords(ctx context.Context, js natsjs.JetStream, name string, replicas int) (natsjs.Stream, error) {
	s, err := js.CreateStream(ctx, natsjs.StreamConfig{
		Name:              name,
		Description:       "reminders of the virtual actors of a Tandem cluster",
		Subjects:          []string{name + "." + strings.ToLower(rand.Text()[:16]) + ".>"},
		Storage:           natsjs.FileStorage,
		Replicas:          replicas,
		MaxMsgsPerSubject: 1,
		Discard:           natsjs.DiscardNew, // full is an error, never a loss
		AllowMsgTTL:       true,
		DenyDelete:        true,
		DenyPurge:         true,
	})
	if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // another process has created it meanwhile
		return js.Stream(ctx, name)
	}
	return s, err
}

// createAlarms creates the stream of alarms, unless it is there. NATS lets messages be scheduled only in
// a stream that may be purged, and that does not reject new ones when it is full.
func (h *home) createAlarms(ctx context.Context, js natsjs.JetStream) (natsjs.Stream, error) {
	s, err := js.CreateStream(ctx, natsjs.StreamConfig{
		Name:              h.alarms,
		Description:       "alarms of the reminders in " + h.name + ", and says which stream that is; delete this if reminders are lost, and the loss is accepted",
		Subjects:          []string{h.alarms + ".>"},
		Storage:           natsjs.FileStorage,
		Replicas:          h.replicas,
		Retention:         natsjs.WorkQueuePolicy,
		MaxMsgsPerSubject: 1,
		AllowMsgSchedules: true,
		AllowRollup:       true,
		Metadata:          map[string]string{ofBirth: h.birth, ofCreated: stamp(h.created)},
	})
	if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // another process has created it meanwhile
		return js.Stream(ctx, h.alarms)
	}
	return s, err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// existing opens the records that the stream of alarms names. Anything else is a loss.
func (h home) existing(ctx context.Context, js natsjs.JetStream, alarms natsjs.Stream) (home, error) {
	c := alarms.CachedInfo().Config
	h.birth = c.Metadata[ofBirth]
	if !c.AllowMsgSchedules || c.Retention != natsjs.WorkQueuePolicy || len(c.Subjects) != 1 || c.Subjects[0] != h.alarms+".>" {
		return h, final{fmt.Errorf("stream %s is not one of alarms; delete it", h.alarms)}
	}
	now, gap, err := look(ctx, js, h, 0)
	if err == nil && gap.why == "" && c.Metadata[ofCreated] != stamp(now.created) {
		gap.why = fmt.Sprintf("stream %s was created at %s, and the one with the reminders at %s", h.name, stamp(now.created), c.Metadata[ofCreated])
	}
	if gap.why != "" {
		return h, final{fmt.Errorf("%w: %s; restore the stream, or delete the stream %s to begin with what is there", reminder.ErrLost, gap.why, h.alarms)}
	}
	return now, err
}

// gap is what is missing in the stream of records.
type gap struct {
	why    string // empty if nothing is missing
	behind bool   // it ends too early, and nothing else is wrong
}

// look reads the stream of records of h, and says what is missing in it. The time of its creation is
// compared if h has one. high is a sequence number that must have been stored.
func look(ctx context.Context, js natsjs.JetStream, h home, high uint64) (now home, g gap, err error) {
	missing := func(format string, args ...any) (home, gap, error) {
		return now, gap{why: fmt.Sprintf(format, args...)}, nil
	}
	now = h
	s, err := js.Stream(ctx, h.name)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		return missing("stream %s does not exist any more", h.name)
	}
	if err != nil {
		return now, g, err
	}
	if err = now.describe(s); err != nil {
		return missing("%v", err)
	}
	switch last := s.CachedInfo().State.LastSeq; {
	case now.birth != h.birth || !h.created.IsZero() && !now.created.Equal(h.created):
		return missing("stream %s is another one, created at %s", h.name, now.created.UTC().Format(time.RFC3339))
	case last < high:
		_, g, _ = missing("stream %s ends at message %d, and message %d was stored in it", h.name, last, high)
		g.behind = true
		return now, g, nil
	}
	_, err = s.GetLastMsgForSubject(ctx, now.prefix+"."+markToken)
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return missing("stream %s was emptied: its first message is gone", h.name)
	}
	return now, g, err
}

// describe makes h that of the stream s. The error says why it cannot be one of records.
func (h *home) describe(s natsjs.Stream) error {
	info := s.CachedInfo()
	c := info.Config
	unfit := ""
	switch {
	case c.AllowDirect:
		unfit = "allows direct reads: replicas that lag behind would answer"
	case c.MaxAge != 0 || c.MaxMsgsPerSubject != 1 || c.Retention != natsjs.LimitsPolicy:
		unfit = "does not keep one message of each subject, for ever"
	case !c.AllowMsgTTL:
		unfit = "does not let messages have a life of their own"
	case c.Discard != natsjs.DiscardNew && (c.MaxMsgs > 0 || c.MaxBytes > 0):
		unfit = "discards old messages when it is full"
	case c.DiscardNewPerSubject:
		unfit = "rejects a second message of a subject"
	case !c.DenyDelete || !c.DenyPurge || c.AllowRollup:
		unfit = "lets messages be deleted or purged"
	case len(c.Subjects) != 1:
		unfit = "does not have one subject"
	}
	h.created, h.records = info.Created, s
	if unfit == "" {
		rest, ok := strings.CutPrefix(c.Subjects[0], c.Name+".")
		birth, ok2 := strings.CutSuffix(rest, ".>")
		if !ok || !ok2 || !token(birth) {
			unfit = fmt.Sprintf("has the subject %s, want %s.<any token>.>", c.Subjects[0], c.Name)
		}
		h.birth, h.prefix = birth, c.Name+"."+birth
	}
	if unfit != "" {
		return fmt.Errorf("stream %s %s", c.Name, unfit)
	}
	return nil
}
