package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// desk answers the questions about one node. Its fields do not change, and what they stand for may be used concurrently.
type desk struct {
	sys                *actor.System
	cfg                Config
	log                *slog.Logger
	readers, operators access.Names
	opened             time.Time
	slots              chan struct{} // holds a token for each question that is being answered
	events             recent
}

// clerk is the state of the admin actor: all that there is, is the desk's.
type clerk struct{ *desk }

// Kind is the kind of the admin actors, for gateways that open them: it says which messages they take.
func Kind() *actor.Kind { return kindOf(nil) }

func kindOf(d *desk) *actor.Kind {
	var all []actor.Handler[clerk]
	for _, q := range questions() {
		all = append(all, q.handler)
	}
	return actor.Define("tandem.admin", func() clerk { return clerk{d} }, all...)
}

// question is a message of the admin actor: its name in gateways, what one needs for it, and what answers it.
type question struct {
	name    string
	right   Right
	handler actor.Handler[clerk]
}

func questions() []question {
	return []question{
		reads((*desk).overview), reads((*desk).node), reads((*desk).members), reads((*desk).peers), reads((*desk).sessions), reads((*desk).services),
		reads((*desk).actors), reads((*desk).actor), reads((*desk).jobs), reads((*desk).topics), reads((*desk).letters),
		reads((*desk).queues), reads((*desk).queueItems), reads((*desk).settings), reads((*desk).recentEvents), reads((*desk).access),
		reads((*desk).requests), reads((*desk).why),
		operates((*desk).stopActor), operates((*desk).resend), operates((*desk).discard), operates((*desk).manageQueue),
		operates((*desk).invoke), operates((*desk).job), operates((*desk).setLevel),
	}
}

// RightFor returns what somebody needs for the message of that name, and false if there is none.
func RightFor(message string) (Right, bool) {
	for _, q := range questions() {
		if q.name == message {
			return q.right, true
		}
	}
	return ToOperate, false
}

// asked is a question with who asks it.
type asked struct {
	*actor.Context
	who string // its principal, for the log
}

// reads and operates make the handler of a question from what answers it. The answer is made in a goroutine of its own, so that
// one that takes long keeps no other waiting; it ends with the question's context.
func reads[M actor.Question[R], R any](fn func(*desk, asked, M) (R, error)) question {
	return question{reflect.TypeFor[M]().Name(), ToRead, answers(ToRead, fn)}
}

func operates[M actor.Question[R], R any](fn func(*desk, asked, M) (R, error)) question {
	return question{reflect.TypeFor[M]().Name(), ToOperate, answers(ToOperate, fn)}
}

func answers[M actor.Question[R], R any](right Right, fn func(*desk, asked, M) (R, error)) actor.Handler[clerk] {
	return actor.Answer(func(c clerk, ctx *actor.Context, m M) (none R, _ error) {
		d, later := c.desk, actor.Defer[R](ctx)
		if err := d.may(ctx, right); err != nil {
			return none, later.Refuse(rpc.Denied, err)
		}
		select {
		case d.slots <- struct{}{}:
		default:
			return none, later.Refuse(rpc.Overloaded, fmt.Errorf("%d questions are being answered", MaxQuestions))
		}
		go func() { // a shutdown waits for the answer
			defer func() { <-d.slots }()
			r, err := fn(d, asked{ctx, ctx.Principal()}, m)
			e := (*rpc.Error)(nil)
			switch {
			case err == nil:
				err = later.Answer(r)
			case errors.As(err, &e) && e.Verdict == rpc.NotRun:
				err = later.Refuse(e.Code, errors.New(e.Message))
			default:
				err = later.Fail(err)
			}
			_ = err // it says that nobody waits any more
		}()
		return none, nil
	})
}

// may returns nil if who has sent the message has the right.
func (d *desk) may(ctx *actor.Context, right Right) error {
	who := ctx.Principal()
	if ctx.Local() || d.operators.Match(who) || right == ToRead && d.readers.Match(who) {
		return nil
	}
	return fmt.Errorf("%s may not %s node %s", who, right, d.sys.Name())
}

// changed writes the line in the log about what an operator has done.
func (d *desk) changed(a asked, what string, args ...any) {
	d.log.Info("an operator has "+what, append([]any{"operator", a.who, "from", a.Node()}, args...)...)
}
