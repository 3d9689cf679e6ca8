package jetstream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/state"
)

// home is where the records of a cluster are: a stream that is told from any other of the same
// name. Its birth is a random token in its subjects, which it keeps when it is restored from a
// backup. So a commit for a stream that was deleted does not find its way into the next one.
type home struct {
	name    string
	birth   string
	prefix  string // of all subjects: "<name>.<birth>"
	created time.Time
	stream  natsjs.Stream // only for reading messages
}

// Properties of the second stream, which says where the records are.
const (
	madeSuffix  = "_made"
	madeBirth   = "tandem-birth"   // the birth of the stream that has them
	madeCreated = "tandem-created" // when that was created
)

// markKind is a token that no kind has. The message under it was stored before any record. If it is
// not there, messages were lost.
const markKind = "=mark"

func (h *home) mark() string { return h.prefix + "." + markKind }

// findHome finds the streams. The second one is created last: if it is there, there may be records,
// and nothing is created any more. If it is not there, there are none, or an operator trusts what
// is there.
func findHome(ctx context.Context, js natsjs.JetStream, name string, replicas int) (home, error) {
	made, err := js.Stream(ctx, name+madeSuffix)
	if err != nil && !errors.Is(err, natsjs.ErrStreamNotFound) {
		return home{}, err
	}
	if err == nil {
		return existing(ctx, js, name, made.CachedInfo().Config.Metadata)
	}
	s, err := js.Stream(ctx, name)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		s, err = create(ctx, js, name, replicas)
	}
	if err != nil {
		return home{}, err
	}
	h, err := describe(s)
	if err != nil {
		return home{}, final{err}
	}
	_, err = js.Publish(ctx, h.mark(), nil, natsjs.WithExpectLastSequencePerSubject(0))
	if err != nil && !isConflict(err) { // after a conflict, it is there
		return home{}, err
	}
	made, err = js.CreateStream(ctx, natsjs.StreamConfig{
		Name:        name + madeSuffix,
		Description: "says that " + name + " has the state of a Tandem cluster's virtual actors; delete this if that is lost, and the loss is accepted",
		Subjects:    []string{name + madeSuffix},
		Storage:     natsjs.FileStorage,
		Replicas:    replicas,
		MaxMsgs:     1,
		Metadata:    map[string]string{madeBirth: h.birth, madeCreated: h.created.UTC().Format(time.RFC3339Nano)},
	})
	if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // another process is as far as this one
		made, err = js.Stream(ctx, name+madeSuffix)
	}
	if err != nil {
		return home{}, err
	}
	return existing(ctx, js, name, made.CachedInfo().Config.Metadata)
}

func create(ctx context.Context, js natsjs.JetStream, name string, replicas int) (natsjs.Stream, error) {
	s, err := js.CreateStream(ctx, natsjs.StreamConfig{
		Name:              name,
		Description:       "state of the virtual actors of a Tandem cluster",
		Subjects:          []string{name + "." + strings.ToLower(rand.Text()[:16]) + ".>"},
		Storage:           natsjs.FileStorage,
		Replicas:          replicas,
		MaxMsgsPerSubject: 1,
		Discard:           natsjs.DiscardNew, // full is an error, never a loss
		DenyDelete:        true,
		DenyPurge:         true,
	})
	if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // another process has created it meanwhile
		return js.Stream(ctx, name)
	}
	return s, err
}

// existing opens the stream that metadata names. Anything else is a loss.
func existing(ctx context.Context, js natsjs.JetStream, name string, metadata map[string]string) (home, error) {
	h, gap, err := look(ctx, js, home{name: name, birth: metadata[madeBirth]}, 0)
	why := gap.why
	if err == nil && why == "" && metadata[madeCreated] != h.created.UTC().Format(time.RFC3339Nano) {
		why = fmt.Sprintf("stream %s was created at %s, and the one with the records at %s", name, h.created.UTC().Format(time.RFC3339Nano), metadata[madeCreated])
	}
	if why != "" {
		return home{}, final{fmt.Errorf("%w: %s; restore the stream, or delete the stream %s to begin with what is there", state.ErrLost, why, name+madeSuffix)}
	}
	return h, err
}

// gap is what is missing in a stream.
type gap struct {
	why    string // empty if nothing is missing
	behind bool   // it ends too early, and nothing else is wrong
}

// look reads the stream of h, and says what is missing in it. The time of its creation is compared
// if h has one. high is a sequence number that must have been stored.
func look(ctx context.Context, js natsjs.JetStream, h home, high uint64) (now home, g gap, err error) {
	missing := func(format string, args ...any) (home, gap, error) {
		return now, gap{why: fmt.Sprintf(format, args...)}, nil
	}
	s, err := js.Stream(ctx, h.name)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		return missing("stream %s does not exist any more", h.name)
	}
	if err != nil {
		return now, g, err
	}
	if now, err = describe(s); err != nil {
		return missing("%v", err)
	}
	switch info := s.CachedInfo(); {
	case now.birth != h.birth || !h.created.IsZero() && !now.created.Equal(h.created):
		return missing("stream %s is another one, created at %s", h.name, now.created.UTC().Format(time.RFC3339))
	case info.State.LastSeq < high:
		_, g, _ := missing("stream %s ends at message %d, and message %d was stored in it", h.name, info.State.LastSeq, high)
		g.behind = true
		return now, g, nil
	}
	_, err = s.GetLastMsgForSubject(ctx, now.mark())
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return missing("stream %s does not have its first message any more", h.name)
	}
	return now, g, err
}

// describe returns the stream as a home. The error says why it cannot be one.
func describe(s natsjs.Stream) (home, error) {
	info := s.CachedInfo()
	c := info.Config
	unfit := ""
	switch {
	case c.AllowDirect:
		unfit = "allows direct reads: replicas that lag behind would answer"
	case c.MaxAge != 0 || c.MaxMsgsPerSubject != 1 || c.Retention != natsjs.LimitsPolicy || c.AllowMsgTTL:
		unfit = "does not keep one message of each subject, for ever"
	case c.Discard != natsjs.DiscardNew && (c.MaxMsgs > 0 || c.MaxBytes > 0):
		unfit = "discards old messages when it is full"
	case c.DiscardNewPerSubject:
		unfit = "rejects a second message of a subject"
	case !c.DenyDelete || !c.DenyPurge || c.AllowRollup:
		unfit = "lets messages be deleted or purged"
	case len(c.Subjects) != 1:
		unfit = "does not have one subject"
	}
	h := home{name: c.Name, created: info.Created, stream: s}
	if unfit == "" {
		rest, ok := strings.CutPrefix(c.Subjects[0], c.Name+".")
		birth, ok2 := strings.CutSuffix(rest, ".>")
		if !ok || !ok2 || !token(birth) {
			unfit = fmt.Sprintf("has the subject %s, want %s.<any token>.>", c.Subjects[0], c.Name)
		}
		h.birth, h.prefix = birth, c.Name+"."+birth
	}
	if unfit != "" {
		return h, fmt.Errorf("stream %s %s", c.Name, unfit)
	}
	return h, nil
}
