package actor

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/outbox"
	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/transport"
)

// The events of Config.Reminders.
const (
	RemindersLost  rpc.EventType = "reminders lost"  // the store of reminders has lost some, or refuses: this node hands out no reminders any more
	ReminderFailed rpc.EventType = "reminder failed" // Actor could not be given a message that was due, and never will: it is a dead letter
)

// Remind has the virtual actor of ctx get msg at the times of when, wherever it is active then: a timer that is kept
// in Config.Reminders. It activates the actor if need be, and lasts until Forget, or until its last time, whatever
// crashes or is stopped meanwhile. An actor has one reminder of a name: another Remind replaces it.
//
//	err := actor.Remind(ctx, "interest", reminder.Cron("0 3 1 * *", "Europe/Berlin"), AddInterest{})
//
// If nobody could be reminded when it was time, since nodes or NATS were down, the message comes once, late, when that is
// possible again; Context.Firing says how late, and how many times were missed. A stored actor
// handles a firing once. Another one may get it again if the store has not heard that it was handled: if the node that had handed it
// out was lost just then, say, and the actor is active on another node now. An error
// or a panic of the handler is the receiver's affair, as with Tell, and the next firing comes at its time.
// A message that the actor refuses (it has no handler for it, say) becomes a dead letter, and an event.
//
// In a handler of a stored actor the reminder is set when the effect of the handler is written; nil means that it
// will be. Otherwise nil means that it is set; Remind then waits for the store until ctx ends, or for Config.Timeout.
// After an error with the verdict Unknown it may be set. An Every counts from then.
// So a reminder is best set by the handler that decides on it, and not by Started, which would begin anew with each
// activation.
//
// The error is rpc.Invalid if the actor is not virtual, has no handler for msg, or if the name or the times are
// not valid (see package reminder). Remind may be called by any goroutine.
func Remind(ctx *Context, name string, when reminder.When, msg any) error {
	s, of, err := ctx.reminded()
	if err != nil {
		return err
	}
	typ := reflect.TypeOf(msg)
	switch h := ctx.cell.kind.handlers[typ]; {
	case msg == nil, h == nil && !ctx.cell.kind.receiver:
		return rpc.Errorf(rpc.Unhandled, rpc.NotRun, "kind %s has no handler for %T", ctx.cell.kind.name, msg)
	case h != nil && h.opens:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a %T opens a stream", msg)
	}
	mt := s.types.get(typ)
	if mt.err != nil {
		return mt.err
	}
	cd := s.codecFor("", nil)
	body, refusal := encodeMessage(cd, nil, msg, mt)
	if refusal != nil {
		return refusal
	}
	r := reminder.Reminder{Actor: of, Name: name, When: when, Message: reminder.Message{Type: mt.name, Codec: cd.ID(), Body: body}}
	e, err := reminder.Entry{}.Set(r, reminder.NewID(), time.Now())
	if err != nil {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "reminder %q: %w", name, err)
	}
	return ctx.changeReminder(state.Remind, e)
}

// Forget ends a reminder of the virtual actor of ctx. It is no error if there is none. When it takes effect, and what its
// errors mean, is as for Remind. A message that is on its way to the actor may still come; in a stored actor so may one that is due
// before the change has left, which may be after a restart of the cluster. So a handler looks at the state whether it still applies.
func Forget(ctx *Context, name string) error {
	_, of, err := ctx.reminded()
	if err != nil {
		return err
	}
	e, err := reminder.Entry{}.Forget(of, name, reminder.NewID())
	if err != nil {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "reminder %q: %w", name, err)
	}
	return ctx.changeReminder(state.Forget, e)
}

// Firing says of which reminder the message is that is being handled, and how late it is. It returns false if the message is
// of no reminder. Who may send the actor messages can make one look like that of a reminder.
func (c *Context) Firing() (reminder.Firing, bool) {
	text := c.Header(firingHeader)
	if text == "" {
		return reminder.Firing{}, false
	}
	var f firing
	if records.Decode([]byte(text), &f) != nil {
		return reminder.Firing{}, false
	}
	of, _ := activationOf(c.cell.self.addr.name)
	return reminder.Firing{
		Reminder:   reminder.Reminder{Actor: reminder.Actor{Kind: of.Kind, ID: of.ID}, Name: f.Name},
		Generation: f.Generation, Number: f.Number, Attempt: f.Attempt, Due: f.Due, Late: f.Late, Missed: f.Missed,
	}, true
}

// Reminders returns the reminders of a virtual actor that have not ended, sorted by name, each with its next time. It
// asks Config.Reminders, under the deadline of ctx or for Config.Timeout, and activates nothing.
func (s *System) Reminders(ctx context.Context, r Ref) ([]reminder.Entry, error) {
	t := s.Bind(r).to
	if t == nil || t.addr.node != anywhere {
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%q is no virtual actor", r)
	}
	if s.cfg.Reminders == nil {
		return nil, errNoReminders
	}
	key, err := virtualKey(t.addr.name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout(ctx))
	defer cancel()
	list, err := s.cfg.Reminders.List(ctx, reminder.Actor{Kind: key.Kind, ID: key.ID})
	if err != nil {
		return nil, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the reminders of %v: %w", r, err)
	}
	return list, nil
}

// firingHeader is the header of a message that a reminder has sent; its value is an encoded firing.
const firingHeader = "tandem-reminder"

// wantsNoReply reports whether the sender of a request only wants to know that its handler has run.
func wantsNoReply(in *server.Inbound) bool {
	return in.Number > 0 || in.Keyed() && firingText(in) != ""
}

// firingText returns the encoded firing that a message is of, or nothing.
func firingText(in *server.Inbound) string {
	if in.Meta == nil {
		return ""
	}
	for _, h := range in.Meta.Headers {
		if h.Key == firingHeader {
			return h.Value
		}
	}
	return ""
}

// firingOf returns which firing a request with a key is of, and false if it is of none.
func firingOf(in *server.Inbound) (f firing, ok bool) {
	text := firingText(in)
	return f, text != "" && records.Decode([]byte(text), &f) == nil
}

// firing is what the message of a reminder says of itself.
type firing struct {
	Name       string
	Generation reminder.ID
	Number     uint64
	Attempt    int
	Due        time.Time
	Late       time.Duration
	Missed     uint64
}

var errNoReminders = rpc.Errorf(rpc.Invalid, rpc.NotRun, "the system has no Config.Reminders")

// reminded returns the actor of ctx as package reminder names it.
func (c *Context) reminded() (*System, reminder.Actor, error) {
	s := c.System()
	of, virtual := activationOf(c.cell.self.addr.name)
	switch {
	case !virtual:
		return nil, reminder.Actor{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "reminders are for virtual actors, and %v is none", c.cell.self.addr)
	case s.cfg.Reminders == nil:
		return nil, reminder.Actor{}, errNoReminders
	}
	return s, reminder.Actor{Kind: of.Kind, ID: of.ID}, nil
}

// changeReminder has a change take place: now, or when the effect of the handler is written.
func (c *Context) changeReminder(verb state.Verb, e reminder.Entry) error {
	if own := c.transaction(c); own != nil {
		return own.remind(verb, e)
	}
	s := c.System()
	ctx, cancel := context.WithTimeout(c, s.timeout(c))
	defer cancel()
	for pause := minCommitPause; ; pause = min(2*pause, maxCommitPause) {
		err := s.changeReminder(ctx, verb, e)
		if !errors.Is(err, reminder.ErrUnknown) || !sleep(ctx, pause) { // the next attempt finds out
			return err
		}
	}
}

// changeReminder makes a change in the store. It can be made again, and takes place once.
func (s *System) changeReminder(ctx context.Context, verb state.Verb, e reminder.Entry) (err error) {
	if s.cfg.Reminders == nil { // of a stored actor that comes from a node which has it
		return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "a change of reminder %q: %w", e.Name, errNoReminders)
	}
	if verb == state.Forget {
		err = s.cfg.Reminders.Forget(ctx, e.Actor, e.Name, e.Changes[0])
	} else {
		_, err = s.cfg.Reminders.Set(ctx, e.Reminder, e.Changes[0])
	}
	if err == nil {
		return nil
	}
	verdict, code := rpc.Unknown, rpc.Unavailable
	if errors.Is(err, reminder.ErrNotStored) {
		verdict = rpc.NotRun
	}
	switch {
	case errors.Is(err, reminder.ErrFull):
		code = rpc.Overloaded
	case errors.Is(err, reminder.ErrTooLarge):
		code = rpc.TooLarge
	case errors.Is(err, reminder.ErrInvalid):
		code = rpc.Invalid
	}
	return rpc.Errorf(code, verdict, "reminder %q of %v: %w", e.Name, e.Actor, err)
}

// reminding is how long a system hands out reminders.
type reminding struct {
	ctx  context.Context
	stop context.CancelFunc
}

// followReminders hands out the reminders that are due, until the system drains. Nodes that host virtual kinds do so.
func (s *System) followReminders() {
	if s.cfg.Reminders == nil || !slices.ContainsFunc(s.cfg.Kinds, func(k *Kind) bool { return k.placed }) {
		return
	}
	if len(s.cfg.Transports) == 0 {
		s.startAlone()
	}
	s.services.run(func() {
		if err := s.cfg.Reminders.Follow(s.reminding.ctx, s.remind); err != nil {
			s.log.Error("no reminders are handed out by this node any more", "err", err)
			s.event(Event{Type: RemindersLost, Err: err})
		}
	})
}

// Pauses before a firing is handed out again whose actor could not be reached.
const (
	firstRemindPause = time.Second
	lastRemindPause  = time.Minute
)

// remind gives an actor the message of a reminder.
func (s *System) remind(ctx context.Context, f reminder.Firing) reminder.Outcome {
	head, err := records.Append(nil, firing{f.Name, f.Generation, f.Number, f.Attempt, f.Due, f.Late, f.Missed})
	if err != nil { // it has no field that could fail
		s.log.Error("a reminder could not be sent", "actor", f.Actor, "reminder", f.Name, "err", err)
		return reminder.Retry(lastRemindPause)
	}
	p := &parked{addr: address{f.Actor.String(), anywhere}, typeName: f.Message.Type, TypeID: transport.TypeID(f.Message.Type), Codec: f.Message.Codec, Body: f.Message.Body}
	p.Headers = append(p.Headers, transport.Header{Key: firingHeader, Value: string(head)})
	_, err = s.sendParked(ctx, p, client.Rare{Key: f.Key().String()})
	switch {
	case err == nil, rpc.Ran(err) == rpc.HasRun: // an error of the handler is in its log
		return reminder.Done()
	case rpc.Ran(err) == rpc.NotRun && !outbox.Transient(rpc.CodeOf(err)):
		s.parkedLetter(p, p.addr.String(), rpc.Errorf(rpc.CodeOf(err), rpc.NotRun, "reminder %q: %w", f.Name, err))
		s.event(Event{Type: ReminderFailed, Actor: p.addr.String(), Err: err})
		return reminder.Done()
	}
	return reminder.Retry(min(firstRemindPause<<min(f.Attempt-1, 10), lastRemindPause))
}
