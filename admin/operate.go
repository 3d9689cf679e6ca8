package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

func (d *desk) stopActor(a asked, m StopActor) (Done, error) {
	if m.Name == Name {
		return Done{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "the admin actor does not end itself")
	}
	stop := d.sys.Stop
	if m.Now {
		stop = d.sys.StopNow
	}
	if err := stop(a, d.sys.Ref(m.Name+"@"+d.sys.Name())); err != nil {
		return Done{}, err
	}
	d.changed(a, "stopped an actor", "actor", m.Name, "now", m.Now)
	return Done{Count: 1}, nil
}

func (d *desk) resend(a asked, m ResendLetters) (r Resent, err error) {
	f, err := m.filter()
	if err != nil {
		return r, err
	}
	var to actor.Ref
	if m.To != "" {
		if to = d.sys.Ref(m.To); to.IsZero() {
			return r, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%q is no address", m.To)
		}
	}
	f.Limit = MaxPage
	letters := d.sys.KeptLetters(f)
	r.More = len(letters) == MaxPage
	for _, l := range letters {
		if err := d.sys.ResendLetter(a, l.ID, to); err != nil {
			r.Failed = append(r.Failed, LetterError{l.ID, rpc.CodeOf(err).String(), rpc.Ran(err).String(), err.Error()})
			if a.Err() != nil {
				r.More = true
				break
			}
			continue
		}
		r.Sent++
	}
	d.changed(a, "sent dead letters again", "sent", r.Sent, "failed", len(r.Failed), "to", m.To)
	return r, nil
}

func (d *desk) discard(a asked, m DiscardLetters) (Done, error) {
	f, err := m.filter()
	if err != nil {
		return Done{}, err
	}
	n := d.sys.DiscardLetters(f)
	d.changed(a, "discarded dead letters", "count", n)
	return Done{Count: n}, nil
}

// Bounds of Invoke and Job.
const (
	invokeWait = time.Minute
	jobWait    = 20 * time.Second
)

func (d *desk) invoke(a asked, m Invoke) (r Invoked, err error) {
	to := d.sys.Ref(m.To)
	if to.IsZero() || m.Type == "" {
		return r, rpc.Errorf(rpc.Invalid, rpc.NotRun, "want To, which is %q, to be an address, and Type, which is %q, to be the name of a message", m.To, m.Type)
	}
	ctx, cancel := context.WithTimeout(a, min(cmp.Or(max(m.Timeout, 0), invokeWait), invokeWait))
	defer cancel()
	body := m.Body
	if len(body) == 0 {
		body = json.RawMessage("{}")
	}
	msg := actor.Encoded{Type: m.Type, Codec: codec.IDJSON, Body: body}
	var opts []rpc.Option
	if !a.Local() {
		opts = append(opts, rpc.OnBehalfOf(a.who))
	}
	var report rpc.Report
	switch m.How {
	case "", "call":
		if m.Key != "" {
			opts = append(opts, rpc.Key(m.Key))
		}
		var reply actor.Encoded
		reply, err = msg.Call(ctx, to, append(opts, rpc.ReportTo(&report))...)
		r.Body, r.Type, r.Replayed = reply.Body, reply.Type, report.Replayed
	case "tell":
		err = msg.Tell(ctx, to, opts...)
	case "submit":
		var t rpc.Token[actor.Encoded]
		if t, err = msg.Submit(ctx, to, opts...); err == nil {
			r.Token = t.String()
		}
	default:
		return r, rpc.Errorf(rpc.Invalid, rpc.NotRun, "How %q: want call, tell or submit", m.How)
	}
	if err != nil {
		r.Error = failureOf(err)
	}
	d.changed(a, "sent a message", "to", m.To, "type", m.Type, "how", m.How, "err", err)
	return r, nil
}

// failureOf is an error as it is sent.
func failureOf(err error) *Failure {
	f := &Failure{Code: rpc.CodeOf(err).String(), Ran: rpc.Ran(err).String(), Message: err.Error()}
	if e := (*rpc.Error)(nil); errors.As(err, &e) {
		f.User, f.Node, f.Message = e.User, e.Node, e.Message
	}
	return f
}

func (d *desk) job(a asked, m Job) (s JobState, err error) {
	var opts []rpc.Option
	if !a.Local() {
		opts = append(opts, rpc.OnBehalfOf(a.who))
	}
	t, err := actor.Redeem[actor.Encoded](d.sys, m.Token, opts...)
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(a, min(cmp.Or(max(m.Wait, 0), jobWait), jobWait))
	defer cancel()
	switch m.Do {
	case "", "poll":
	case "await":
		result, err := t.Await(ctx)
		if err == nil {
			s.Result = result.Body
		}
	case "cancel":
		if _, err := t.Cancel(a); err != nil {
			return s, err
		}
		d.changed(a, "cancelled a job")
	default:
		return s, rpc.Errorf(rpc.Invalid, rpc.NotRun, "Do %q: want poll, await or cancel", m.Do)
	}
	now, err := t.Poll(a)
	if err != nil {
		return s, err
	}
	s.State, s.Done, s.Total = now.State.String(), now.Done, now.Total
	if now.Err != nil {
		s.Error = failureOf(now.Err)
	}
	return s, nil
}

func (d *desk) setLevel(a asked, m SetLevel) (Done, error) {
	if d.cfg.Level == nil {
		return Done{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "the node's program has given no level to admin.Config")
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(m.Level)); err != nil {
		return Done{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "level %q: want debug, info, warn, error, or one of these with an offset", m.Level)
	}
	d.cfg.Level.Set(l)
	d.changed(a, "set the level of the log", "level", l)
	return Done{Count: 1}, nil
}
