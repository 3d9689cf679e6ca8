package remindertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/reminder"
)

// change is a Set or a Forget that was made under an ID.
type change struct {
	set  bool
	name string
	id   reminder.ID
	when reminder.When
}

// known is what the model knows of one name.
type known struct {
	sure  *change   // the last one that returned without an error
	maybe []*change // those after it whose fate is unknown
}

// Model makes random changes of a few reminders, through several stores over one storage, and compares
// what they list with what must be there. disturb is called before each change: it may bring faults upon
// it, and returns the ctx for it. Nothing comes due meanwhile.
func Model(t *rapid.T, stores []reminder.Store, disturb func(*rapid.T, context.Context) context.Context) {
	ctx := context.Background()
	names := map[string]*known{"a": {}, "b": {}}
	make := func(t *rapid.T, ctx context.Context, c *change) error {
		store := stores[rapid.IntRange(0, len(stores)-1).Draw(t, "store")]
		if !c.set {
			return store.Forget(ctx, alice, c.name, c.id)
		}
		_, err := store.Set(ctx, note(c.name, c.when), c.id)
		return err
	}
	// made says what is known after a change was made.
	made := func(t *rapid.T, c *change, err error) {
		k := names[c.name]
		switch {
		case err == nil:
			names[c.name] = &known{sure: c}
		case errors.Is(err, reminder.ErrUnknown):
			k.maybe = append(k.maybe, c)
		case !errors.Is(err, reminder.ErrNotStored):
			t.Fatal(err)
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"change": func(t *rapid.T) {
			c := &change{set: rapid.Bool().Draw(t, "set"), name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"), id: reminder.NewID()}
			c.when = reminder.At(time.Now().Add(time.Duration(rapid.IntRange(1, 100).Draw(t, "hours")) * time.Hour))
			made(t, c, make(t, disturb(t, ctx), c))
		},
		"again": func(t *rapid.T) {
			k := names[rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name")]
			if len(k.maybe) == 0 {
				t.Skip("nothing is unknown")
			}
			c := k.maybe[len(k.maybe)-1]
			if err := make(t, ctx, c); err != nil {
				t.Fatal(err)
			}
			made(t, c, nil)
		},
		"": func(t *rapid.T) {
			for i, store := range stores {
				list, err := store.List(ctx, alice)
				if err != nil {
					t.Fatal(err)
				}
				for name, k := range names {
					if err := k.fits(name, list); err != nil {
						t.Fatalf("store %d: %v", i, err)
					}
				}
			}
		},
	})
}

// fits checks that a list has what the last change left, or one of those whose fate is unknown.
func (k *known) fits(name string, list []reminder.Entry) error {
	var now *reminder.Entry
	if i := slices.IndexFunc(list, func(e reminder.Entry) bool { return e.Name == name }); i >= 0 {
		now = &list[i]
	}
	if k.sure == nil && now == nil {
		return nil
	}
	for _, c := range append([]*change{k.sure}, k.maybe...) {
		switch {
		case c == nil:
		case !c.set && now == nil, c.set && now != nil && now.Generation == c.id && now.When == c.when && now.Number == 1:
			return nil
		}
	}
	return fmt.Errorf("%s is %+v, the last change was %+v, and %d are unknown", name, now, k.sure, len(k.maybe))
}
