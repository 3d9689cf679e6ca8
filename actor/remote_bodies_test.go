package actor_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// A Sealed is bytes made from a seed, so that its reader sees whether a byte is of another message.
type Sealed struct {
	actor.Returns[SealedReply]
	Seed, Size int // of the reply
	Data       []byte
}

type SealedReply struct{ Data []byte }

type sealedNote struct {
	Seed int
	Data []byte
}

func (sealedNote) WireName() string { return "test.SealedNote" }

// sealed makes size bytes, the first of them from the seed, each further one from the one before.
func sealed(seed, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(seed + i*(seed%13+1))
	}
	return b
}

// A sealer checks what it gets and answers with as many bytes as it is asked for.
type sealer struct{ notes, bad int }

func (s *sealer) answer(_ *actor.Context, m Sealed) (SealedReply, error) {
	if !bytes.Equal(m.Data, sealed(m.Seed, len(m.Data))) {
		return SealedReply{}, fmt.Errorf("the message has bytes of others")
	}
	return SealedReply{sealed(m.Seed+1, m.Size)}, nil
}

func (s *sealer) note(_ *actor.Context, m sealedNote) error {
	if s.notes++; !bytes.Equal(m.Data, sealed(m.Seed, len(m.Data))) {
		s.bad++
	}
	return nil
}

type sealerCount struct {
	actor.Returns[[]int]
}

func (s *sealer) count(*actor.Context, sealerCount) ([]int, error) {
	return []int{s.notes, s.bad}, nil
}

// The memory of bodies is used again. So messages of all sizes at once, a part of which is
// cancelled, must arrive as they were sent, and so must their replies.
func TestBodiesOfAllSizesAtOnce(t *testing.T) {
	kind := actor.Define("sealer", func() *sealer { return new(sealer) },
		actor.Answer((*sealer).answer), actor.Answer((*sealer).count), actor.Handle((*sealer).note))
	eachRoad(t, func(t *testing.T, roads func() []transport.Transport) {
		a, b := pair(t, roads)
		for i := range 3 {
			if _, err := b.Spawn(fmt.Sprint("sealer", i), kind); err != nil {
				t.Fatal(err)
			}
		}
		const callers, rounds = 8, 60
		var notes [3]int
		var mu sync.Mutex // guards notes
		var ended sync.WaitGroup
		for caller := range callers {
			ended.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(caller), 7))
				size := func() int {
					if rnd.IntN(3) == 0 { // so large that a link does not copy it, but sends it bit by bit
						return transport.LargeBody + rnd.IntN(transport.LargeBody)
					}
					return rnd.IntN(1 << (4 + rnd.IntN(13)))
				}
				for round := range rounds {
					seed, to := caller*1000+round, rnd.IntN(3)
					ref := a.Ref(fmt.Sprintf("sealer%d@b", to))
					if rnd.IntN(3) == 0 {
						if err := actor.Tell(t.Context(), ref, sealedNote{seed, sealed(seed, size())}); err != nil {
							t.Errorf("tell: %v", err)
							continue
						}
						mu.Lock()
						notes[to]++
						mu.Unlock()
						continue
					}
					m := Sealed{Seed: seed, Size: size(), Data: sealed(seed, size())}
					ctx, cancel := context.WithCancel(t.Context())
					if rnd.IntN(4) == 0 {
						go cancel() // at some moment of its way
					}
					var got SealedReply
					var err error
					if rnd.IntN(2) == 0 {
						got, err = actor.Call(ctx, ref, m)
					} else {
						got, err = actor.Ask(ctx, ref, m, rpc.Key(fmt.Sprint(seed))).Await(ctx)
					}
					canceled := ctx.Err() != nil
					cancel()
					if err != nil && !canceled {
						t.Errorf("%d bytes, of %d: %v", len(m.Data), m.Size, err)
					}
					if err == nil && !bytes.Equal(got.Data, sealed(seed+1, m.Size)) {
						t.Errorf("a reply of %d bytes has bytes of others", m.Size)
					}
				}
			})
		}
		ended.Wait()
		for i, want := range notes {
			if got, err := actor.Call(t.Context(), a.Ref(fmt.Sprintf("sealer%d@b", i)), sealerCount{}); err != nil || got[0] != want || got[1] != 0 {
				t.Errorf("notes: %v came, of %d sent, error %v; the second number are those with bytes of others", got, want, err)
			}
		}
	})
}
