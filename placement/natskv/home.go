package natskv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/placement"
)

// names are those of what a cluster has on the server.
type names struct{ bucket, stream, root, made string }

func namesOf(cluster string) names {
	b := cluster + "_claims"
	return names{bucket: b, stream: "KV_" + b, root: "$KV." + b, made: b + "_made"}
}

// home is where the claims of a cluster are: a bucket that is told from any other of the same name.
// Its birth is a random token in its subjects. So a write for a bucket that was deleted does not
// find its way into the next one.
type home struct {
	names
	birth   string
	prefix  string // of all subjects: "$KV.<bucket>.<birth>"
	created time.Time
	stream  natsjs.Stream // only for reading messages
}

// Properties of the second stream, which says where the claims are.
const (
	madeBirth   = "tandem-birth"   // the birth of the bucket that has them
	madeCreated = "tandem-created" // when that was created
)

// markKind is a token that no kind has. The message under it was stored before any claim. If it is
// not there, messages were lost.
const markKind = "=mark"

func (h *home) mark() string { return h.prefix + "." + markKind }

// findHome finds the streams. The second one is created last: if it is there, there may be claims,
// and nothing is created any more. If it is not there, there are none, or an operator trusts what
// is there.
func (c *Claims) findHome(ctx context.Context, n names) (home, error) {
	made, err := c.js.Stream(ctx, n.made)
	if err != nil && !errors.Is(err, natsjs.ErrStreamNotFound) {
		return home{}, err
	}
	if err == nil {
		return c.existing(ctx, n, made.CachedInfo().Config.Metadata)
	}
	s, err := c.js.Stream(ctx, n.stream)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		s, err = c.create(ctx, n)
	}
	if err != nil {
		return home{}, err
	}
	h, err := describe(s, n)
	if err != nil {
		return home{}, final{err}
	}
	_, err = c.js.Publish(ctx, c.to+h.mark(), nil, natsjs.WithExpectLastSequencePerSubject(0))
	if err != nil && jserror.Of(err).Cause != jserror.Conflict { // after a conflict, it is there
		return home{}, err
	}
	made, err = c.js.CreateStream(ctx, natsjs.StreamConfig{
		Name:        n.made,
		Description: "says that " + n.stream + " has the claims of a Tandem cluster's virtual actors; delete this if that is lost, while no node runs",
		Subjects:    []string{n.made},
		Storage:     natsjs.FileStorage,
		Replicas:    c.cfg.Replicas,
		MaxMsgs:     1,
		Metadata:    map[string]string{madeBirth: h.birth, madeCreated: h.created.UTC().Format(time.RFC3339Nano)},
	})
	if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // another process is as far as this one
		made, err = c.js.Stream(ctx, n.made)
	}
	if err != nil {
		return home{}, err
	}
	return c.existing(ctx, n, made.CachedInfo().Config.Metadata)
}

func (c *Claims) create(ctx context.Context, n names) (natsjs.Stream, error) {
	s, err := c.js.CreateStream(ctx, natsjs.StreamConfig{
		Name:              n.stream,
		Description:       "which nodes of a Tandem cluster hold which virtual actors",
		Subjects:          []string{n.root + "." + strings.ToLower(rand.Text()[:16]) + ".>"},
		Storage:           natsjs.FileStorage,
		Replicas:          c.cfg.Replicas,
		MaxMsgsPerSubject: 1,
		Discard:           natsjs.DiscardNew, // full is an error, never a loss
		AllowMsgTTL:       true,              // for the marks of releases
		DenyDelete:        true,
		DenyPurge:         true,
	})
	if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // another process has created it meanwhile
		return c.js.Stream(ctx, n.stream)
	}
	return s, err
}

// existing opens the bucket that metadata names. Anything else is a loss.
func (c *Claims) existing(ctx context.Context, n names, metadata map[string]string) (home, error) {
	h, gap, err := look(ctx, c.js, home{names: n, birth: metadata[madeBirth]}, 0)
	why := gap.why
	if err == nil && why == "" && metadata[madeCreated] != h.created.UTC().Format(time.RFC3339Nano) {
		why = fmt.Sprintf("stream %s was created at %s, and the one with the claims at %s", n.stream, h.created.UTC().Format(time.RFC3339Nano), metadata[madeCreated])
	}
	if why != "" {
		return home{}, final{fmt.Errorf("%w: %s; stop all nodes, and delete the streams %s and %s", placement.ErrLost, why, n.stream, n.made)}
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
	s, err := js.Stream(ctx, h.names.stream)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		return missing("stream %s does not exist any more", h.names.stream)
	}
	if err != nil {
		return now, g, err
	}
	if now, err = describe(s, h.names); err != nil {
		return missing("%v", err)
	}
	switch info := s.CachedInfo(); {
	case now.birth != h.birth || !h.created.IsZero() && !now.created.Equal(h.created):
		return missing("stream %s is another one, created at %s", h.names.stream, now.created.UTC().Format(time.RFC3339))
	case info.State.LastSeq < high:
		_, g, _ := missing("stream %s ends at message %d, and message %d was stored in it", h.names.stream, info.State.LastSeq, high)
		g.behind = true
		return now, g, nil
	}
	_, err = s.GetLastMsgForSubject(ctx, now.mark())
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return missing("stream %s does not have its first message any more", h.names.stream)
	}
	return now, g, err
}

// describe returns the stream as a home. The error says why it cannot be one.
func describe(s natsjs.Stream, n names) (home, error) {
	info := s.CachedInfo()
	c := info.Config
	unfit := ""
	switch {
	case c.AllowDirect || c.MirrorDirect:
		unfit = "allows direct reads: replicas that lag behind would answer"
	case c.MaxAge != 0 || c.MaxMsgsPerSubject != 1 || c.Retention != natsjs.LimitsPolicy:
		unfit = "does not keep one message of each subject, for ever"
	case !c.AllowMsgTTL:
		unfit = "does not let single messages have a life of their own"
	case c.Discard != natsjs.DiscardNew && (c.MaxMsgs > 0 || c.MaxBytes > 0):
		unfit = "discards old messages when it is full"
	case c.DiscardNewPerSubject:
		unfit = "rejects a second message of a subject"
	case !c.DenyDelete || !c.DenyPurge || c.AllowRollup:
		unfit = "lets messages be deleted or purged"
	case len(c.Subjects) != 1:
		unfit = "does not have one subject"
	}
	h := home{names: n, created: info.Created, stream: s}
	if unfit == "" {
		rest, ok := strings.CutPrefix(c.Subjects[0], n.root+".")
		birth, ok2 := strings.CutSuffix(rest, ".>")
		if !ok || !ok2 || !token(birth) {
			unfit = fmt.Sprintf("has the subject %s, want %s.<any token>.>", c.Subjects[0], n.root)
		}
		h.birth, h.prefix = birth, n.root+"."+birth
	}
	if unfit != "" {
		return h, fmt.Errorf("stream %s %s", c.Name, unfit)
	}
	return h, nil
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
