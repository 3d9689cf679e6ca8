package sim

import (
	"time"

	"github.com/tandem-go/tandem/actor"
)

// The actors that move: so many vaults, which are stored, and guests, which are not.
const vaults, guests = 5, 4

// Give is a transfer of a vault to another one, or to a desk.
type Give struct {
	actor.Returns[Seen]
	ID    uint64
	To    string // an address
	Work  time.Duration
	Fails int // 1: the handler returns an error in the end; 2: it panics
	Ring  *Ring
}

// Glance asks a vault what it has given.
type Glance struct {
	actor.Returns[Seen]
	Work time.Duration
}

// Seen is an answer: how many transfers the actor has made, which was the last, and the token of the activation.
type Seen struct {
	Place int
	Last  uint64
	Token uint64
}

// Gift is what the receiver of a transfer gets.
type Gift struct {
	ID    uint64
	From  string // the vault; empty: a caller has sent it
	Place int    // of the transfer in the vault
}

// Given is a transfer that a vault has made.
type Given struct {
	ID uint64
	To string
}

// Chest is what is stored of a vault.
type Chest struct {
	Gave []Given
	Took []Gift
	Rung []Rung
}

// Open asks for it.
type Open struct{ actor.Returns[Chest] }

// Stay asks a guest for the token of its activation.
type Stay struct {
	actor.Returns[Seen]
	ID   uint64
	Work time.Duration
	Ring *Ring
}

// vault is a stored actor.
type vault struct {
	chest Chest
	w     *moveWorld
	early *Seen // of a cheat
}

func (v *vault) seen(ctx *actor.Context) Seen {
	s := Seen{Place: len(v.chest.Gave), Token: ctx.FencingToken()}
	if s.Place > 0 {
		s.Last = v.chest.Gave[s.Place-1].ID
	}
	return s
}

func (v *vault) give(ctx *actor.Context, m Give) (Seen, error) {
	v.chest.Gave = append(v.chest.Gave, Given{m.ID, m.To})
	g := Gift{m.ID, ctx.Self().String(), len(v.chest.Gave)}
	work(ctx, m.Work, false)
	times := 1
	switch {
	case v.w.cheats("an effect is doubled", m.ID):
		v.chest.Gave = append(v.chest.Gave, Given{m.ID, m.To})
	case v.w.cheats("an effect is forgotten", m.ID):
		v.chest.Gave = v.chest.Gave[:len(v.chest.Gave)-1]
		return Seen{len(v.chest.Gave) + 1, m.ID, ctx.FencingToken()}, nil
	case v.w.cheats("a message is lost", m.ID):
		times = 0
	case v.w.cheats("a message is doubled", m.ID):
		times = 2
	case v.w.cheats("a message is late", m.ID):
		g.Place = 0
	}
	for range times {
		if err := actor.Tell(ctx, ctx.System().Ref(m.To), g); err != nil {
			return Seen{}, err
		}
	}
	if err := v.remind(ctx, m); err != nil {
		return Seen{}, err
	}
	switch m.Fails {
	case 1:
		return Seen{}, errAsked
	case 2:
		panic("a panic was asked for")
	}
	return v.seen(ctx), nil
}

func (v *vault) take(_ *actor.Context, m Gift) error {
	v.chest.Took = append(v.chest.Took, m)
	return nil
}

func (v *vault) look(ctx *actor.Context, m Glance) (Seen, error) {
	work(ctx, m.Work, false)
	s := v.seen(ctx)
	if v.w.cheat == "a reader tells of the past" && v.early != nil {
		return *v.early, nil
	}
	v.early = &s
	return s, nil
}

func (v *vault) open(*actor.Context, Open) (Chest, error) { return v.chest, nil }

// desk is an ordinary actor that gets gifts.
type desk struct{ w *moveWorld }

func (d desk) take(ctx *actor.Context, m Gift) error {
	d.w.arrives(arrival{ctx.Self().String(), d.w.epochs(ctx), m})
	return nil
}
