package actor

import (
	"context"
	"reflect"

	"github.com/tandem-go/tandem/registry"
)

// Outstanding returns how many requests and streams the picker of a service counts as
// outstanding, and how many instances there are.
func Outstanding(s *System, name string) (n, instances int) {
	v := s.services.get(name)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.picker.All() {
		n += c.Outstanding()
	}
	return n, v.picker.Len()
}

// Dequeue is the message behind Pull.
type Dequeue[T any] = dequeue[T]

// Dequeued answers it.
type Dequeued[T any] = dequeued[T]

// Halt is System.StopNow, but does not wait for the actor's end.
func Halt(s *System, r Ref) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.StopNow(ctx, r)
}

// Watches returns how many watches an actor has, or is watched by.
func Watches(r Ref) int {
	a := r.to.cell.Load().annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.watching) + len(a.watchers)
}

// RegistryOf is the registry of a system.
func RegistryOf(s *System) registry.Registry { return s.cfg.Registry }

// SystemOf returns the system that a ref is bound to.
func SystemOf(r Ref) *System { return r.to.sys }

// FarWatches returns how many actors of b are watched from a, as a and as b know it.
func FarWatches(a, b *System) (watching, kept int) {
	a.far.mu.Lock()
	defer a.far.mu.Unlock()
	for _, f := range a.far.all {
		f.mu.Lock()
		watching += len(f.watches)
		f.mu.Unlock()
	}
	b.keeps.mu.Lock()
	defer b.keeps.mu.Unlock()
	for _, f := range b.keeps.all {
		f.mu.Lock()
		kept += len(f.watches)
		f.mu.Unlock()
	}
	return watching, kept
}

// ForgeEnd tells a node that a watch has ended, with a wrong key.
func ForgeEnd(ctx context.Context, s *System, node string, id uint64) error {
	_, err := askNode[bool](ctx, s, node, "", actorsEnded{Key: "wrong", Ends: []actorEnd{{ID: id}}})
	return err
}

// EventRoom and LetterRoom are how many entries a subscriber may fall behind.
const (
	EventRoom  = eventRoom
	LetterRoom = letterRoom
)

// UnderWay returns how many requests count for a limit of Config.Admission, and how many may.
func UnderWay(s *System, limit string) (n, most int) {
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	return s.admission.table.UnderWay(limit)
}

// BecomeOlder has s answer as a version does that does not know the question for schemas.
func BecomeOlder(s *System) {
	older := Define("tandem.node", func() nodeServer { return nodeServer{} }, Answer(nodeServer.stop), Answer(nodeServer.inspect)).With(systems())
	c := s.refs.live(nodeServerName)
	over := s.refs.whenGone(c)
	c.end(nil)
	<-over
	if _, err := s.spawnHidden(nodeServerName, older); err != nil {
		panic(err)
	}
}

// Unrecord has s forget that a kind of which records are kept takes messages of type M.
func Unrecord[M any](s *System) { s.types.get(reflect.TypeFor[M]()).recorded.Store(false) }
