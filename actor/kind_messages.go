package actor

import (
	"cmp"
	"encoding/json"
	"reflect"
	"slices"

	"github.com/tandem-go/tandem/access"
)

// Message describes a message that the actors of a kind take. It is for gateways, tools and documentation.
type Message struct {
	Name   string       // on the wire, see WireNamer
	Type   reflect.Type // of the message
	Reply  reflect.Type // of the answer, or of the result of Collect; nil: there is none
	Items  reflect.Type // of the stream that answers it; nil: none does
	Inputs reflect.Type // of the stream that its sender sends behind it; nil: none
	Reads  bool         // its handler changes nothing, see Read
	Op     access.Op    // what a sender must be allowed to do: Send, Call or Stream, or what queues and the like ask for
	Err    error        // why it cannot be sent to another node; nil: it can

	// The JSON Schemas of the message, and of what answers it or the items that do, if a codec of the system gives them a form in JSON of
	// its own; see codec.JSONForm. nil: encoding/json makes the form. Only System.Messages knows them.
	Asked, Answered json.RawMessage
}

// Messages returns what the kind's actors take from senders, in whichever behaviour, by name. What the system itself tells
// its actors is left out. Types that a codec names (see codec.Namer) have the name of their Go type
// here: a system knows its codecs, see System.Messages.
func (k *Kind) Messages() []Message { return k.messages(nil) }

// Messages is Kind.Messages with the names that types have in this system, and the forms that they have in JSON, which both
// depend on its codecs.
func (s *System) Messages(k *Kind) []Message {
	all := k.messages(s.types.codecs)
	for i := range all {
		m := &all[i]
		answer := m.Reply
		if m.Items != nil {
			answer = m.Items
		}
		m.Asked, m.Answered = s.codecs.JSONSchema(m.Type, true), s.codecs.JSONSchema(answer, false)
	}
	return all
}

func (k *Kind) messages(names wireNames) []Message {
	var all []Message
	for typ, h := range k.handlers {
		if toldBySystem(typ) {
			continue
		}
		m := Message{Type: typ, Reply: h.reply, Items: h.stream.items, Inputs: h.stream.inputs, Reads: h.reads, Op: h.op}
		m.Name, m.Err = names.of(typ)
		if m.Reply == nil {
			m.Reply = h.stream.result
		}
		switch {
		case m.Op != 0:
		case h.reply != nil:
			m.Op = access.Call
		default:
			m.Op = access.Send
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Message) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// IsVirtual and IsStored report whether the kind's actors are virtual, and whether their state is stored.
func (k *Kind) IsVirtual() bool { return k.placed }
func (k *Kind) IsStored() bool  { return k.keeps != nil }
