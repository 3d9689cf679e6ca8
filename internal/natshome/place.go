package natshome

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
)

// place is a stream that is told from any other of the same name. Its birth is a random token in
// its subjects, which it keeps when it is restored from a backup. So a message for a stream that
// was deleted does not find its way into the next one.
type place struct {
	birth   string
	prefix  string // of all subjects: "<root>.<birth>"
	created time.Time
	stream  natsjs.Stream // only for reading messages
}

// Properties of the second stream, which says which one is the home.
const (
	madeBirth   = "tandem-birth"
	madeCreated = "tandem-created"
)

// markKind is a token that Escape returns for no text. The message under it was stored before any
// other. If it is not there, messages were lost.
const markKind = "=mark"

func (p place) mark() string { return p.prefix + "." + markKind }

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// find finds the streams. The second one is created last: if it is there, there may be messages,
// and nothing is created any more. If it is not there, there are none, or an operator trusts what
// is there.
func (p Plan) find(ctx context.Context, js natsjs.JetStream) (place, error) {
	made, err := js.Stream(ctx, p.Made)
	if err != nil && !errors.Is(err, natsjs.ErrStreamNotFound) {
		return place{}, err
	}
	if err == nil {
		return p.existing(ctx, js, made.CachedInfo().Config.Metadata)
	}
	s, err := js.Stream(ctx, p.Stream)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		s, err = p.create(ctx, js)
	}
	if err != nil {
		return place{}, err
	}
	now, err := p.describe(s)
	if err != nil {
		return place{}, Final{err}
	}
	_, err = js.Publish(ctx, p.API+now.mark(), nil, natsjs.WithExpectLastSequencePerSubject(0))
	if err != nil && jserror.Of(err).Cause != jserror.Conflict { // after a conflict, it is there
		return place{}, err
	}
	if made, err = p.createSecond(ctx, js, now); err != nil {
		return place{}, err
	}
	return p.existing(ctx, js, made.CachedInfo().Config.Metadata)
}

// createSecond creates the second stream, which names the place, unless it is there.
func (p Plan) createSecond(ctx context.Context, js natsjs.JetStream, of place) (natsjs.Stream, error) {
	c := natsjs.StreamConfig{
		Name:        p.Made,
		Description: fmt.Sprintf("says that %s has the %s of a Tandem cluster; delete this only as the documentation of package %s says", p.Stream, p.What, p.Package),
		Subjects:    []string{p.Made},
		Storage:     natsjs.FileStorage,
		Replicas:    p.Replicas,
		MaxMsgs:     1,
		Metadata:    map[string]string{madeBirth: of.birth, madeCreated: instant(of.created)},
	}
	if p.Second != nil {
		p.Second(&c)
	}
	s, err := js.CreateStream(ctx, c)
	if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // another process has created it meanwhile
		return js.Stream(ctx, p.Made)
	}
	return s, err
}

func (p Plan) create(ctx context.Context, js natsjs.JetStream) (natsjs.Stream, error) {
	s, err := js.CreateStream(ctx, natsjs.StreamConfig{
		Name:              p.Stream,
		Description:       p.Description,
		Subjects:          []string{p.Root + "." + strings.ToLower(rand.Text()[:16]) + ".>"},
		Storage:           natsjs.FileStorage,
		Replicas:          p.Replicas,
		MaxMsgsPerSubject: 1,
		Discard:           natsjs.DiscardNew, // full is an error, never a loss
		AllowMsgTTL:       p.Expiring,
		DenyDelete:        true,
		DenyPurge:         true,
	})
	if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // another process has created it meanwhile
		return js.Stream(ctx, p.Stream)
	}
	return s, err
}

// existing opens the stream that metadata names. Anything else is a loss.
func (p Plan) existing(ctx context.Context, js natsjs.JetStream, metadata map[string]string) (place, error) {
	now, gap, err := p.look(ctx, js, place{birth: metadata[madeBirth]}, 0)
	why := gap.why
	if err == nil && why == "" && metadata[madeCreated] != instant(now.created) {
		why = fmt.Sprintf("stream %s was created at %s, and the one with the %s at %s", p.Stream, instant(now.created), p.What, metadata[madeCreated])
	}
	if why != "" {
		return place{}, Final{fmt.Errorf("%w: %s; %s", p.Lost, why, p.Cure)}
	}
	return now, err
}

// gap is what is missing in a stream.
type gap struct {
	why    string // empty if nothing is missing
	behind bool   // it ends too early, and nothing else is wrong
}

// look reads the stream as it is now, and says what is missing in it, if it was before. The time of
// its creation is compared if before has one. high is a sequence number that must have been stored.
func (p Plan) look(ctx context.Context, js natsjs.JetStream, before place, high uint64) (now place, g gap, err error) {
	s, err := js.Stream(ctx, p.Stream)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		return now, gap{why: fmt.Sprintf("stream %s does not exist any more", p.Stream)}, nil
	}
	if err != nil {
		return now, g, err
	}
	if now, err = p.describe(s); err != nil {
		return now, gap{why: err.Error()}, nil
	}
	switch last := s.CachedInfo().State.LastSeq; {
	case now.birth != before.birth || !before.created.IsZero() && !now.created.Equal(before.created):
		return now, gap{why: fmt.Sprintf("stream %s is another one, created at %s", p.Stream, now.created.UTC().Format(time.RFC3339))}, nil
	case last < high:
		return now, gap{why: fmt.Sprintf("stream %s ends at message %d, and message %d was stored in it", p.Stream, last, high), behind: true}, nil
	}
	_, err = s.GetLastMsgForSubject(ctx, now.mark())
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return now, gap{why: fmt.Sprintf("stream %s does not have its first message any more", p.Stream)}, nil
	}
	return now, g, err
}

// describe returns the stream as a place. The error says why it cannot be the home.
func (p Plan) describe(s natsjs.Stream) (place, error) {
	info := s.CachedInfo()
	now, unfit := place{created: info.Created, stream: s}, p.unfit(info.Config)
	if unfit == "" {
		rest, ok := strings.CutPrefix(info.Config.Subjects[0], p.Root+".")
		birth, ok2 := strings.CutSuffix(rest, ".>")
		if !ok || !ok2 || !Plain(birth) {
			unfit = fmt.Sprintf("has the subject %s, want %s.<any token>.>", info.Config.Subjects[0], p.Root)
		}
		now.birth, now.prefix = birth, p.Root+"."+birth
	}
	if unfit != "" {
		return now, fmt.Errorf("stream %s %s", p.Stream, unfit)
	}
	return now, nil
}

// unfit says why a stream of this configuration could lose messages, or "".
func (p Plan) unfit(c natsjs.StreamConfig) string {
	switch {
	case c.AllowDirect || c.MirrorDirect:
		return "allows direct reads: replicas that lag behind would answer"
	case c.MaxAge != 0 || c.MaxMsgsPerSubject != 1 || c.Retention != natsjs.LimitsPolicy, c.AllowMsgTTL && !p.Expiring:
		return "does not keep one message of each subject, for ever"
	case !c.AllowMsgTTL && p.Expiring:
		return "does not let single messages have a life of their own"
	case c.SubjectDeleteMarkerTTL != 0:
		return "leaves messages of its own where one has expired"
	case c.Mirror != nil || len(c.Sources) > 0 || c.SubjectTransform != nil:
		return "gets messages that were not published under its subject"
	case c.NoAck:
		return "does not acknowledge messages"
	case c.Discard != natsjs.DiscardNew && (c.MaxMsgs > 0 || c.MaxBytes > 0):
		return "discards old messages when it is full"
	case c.DiscardNewPerSubject:
		return "rejects a second message of a subject"
	case !c.DenyDelete || !c.DenyPurge || c.AllowRollup:
		return "lets messages be deleted or purged"
	case len(c.Subjects) != 1:
		return "does not have one subject"
	}
	return ""
}
