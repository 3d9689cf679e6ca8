package actor

import (
	"context"
	"log/slog"
	"reflect"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

type nothing struct{}

var nothingKind = Define("nothing", func() *nothing { return new(nothing) })

// local starts a system without roads.
func local(t *testing.T) *System {
	t.Helper()
	sys, err := NewSystem(Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
	return sys
}

// If the handler has run and the outcome is about to be set, a cancel does not replace it.
func TestGiveUpAfterTheHandler(t *testing.T) {
	a := &ask[int]{future: new(promise.Promise[int])}
	if !a.Start() {
		t.Fatal("not started")
	}
	a.state.Store(finished) // as it is right before end sets the outcome
	a.GiveUp(rpc.Canceled, "enough")
	a.deliver(7, nil)
	if v, err := future(a.future).Await(t.Context()); v != 7 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
}

func TestGiveUpVerdicts(t *testing.T) {
	for _, row := range []struct {
		name    string
		started bool
		want    rpc.Verdict
	}{{"before it started", false, rpc.NotRun}, {"while it runs", true, rpc.Unknown}} {
		t.Run(row.name, func(t *testing.T) {
			a := &ask[int]{future: new(promise.Promise[int])}
			if row.started && !a.Start() {
				t.Fatal("not started")
			}
			a.GiveUp(rpc.Canceled, "enough")
			a.GiveUp(rpc.Expired, "again")
			if a.Start() {
				t.Error("started after it was given up")
			}
			canceled := false
			a.OnCancel(func() { canceled = true })
			if canceled != row.started {
				t.Errorf("a look at the context after the cancel: cancelled %v", canceled)
			}
			a.end(1, nil)
			if _, err := future(a.future).Await(t.Context()); rpc.CodeOf(err) != rpc.Canceled || rpc.Ran(err) != row.want {
				t.Errorf("%v, ran: %v", err, rpc.Ran(err))
			}
		})
	}
}

// When the run loop ends while the actor is being stopped, it does not free the name of the
// actor that has it next.
func TestNameIsFreedOnce(t *testing.T) {
	sys := local(t)
	events := sys.Events(t.Context())
	old, _ := sys.Spawn("x", nothingKind)
	c := old.to.cell.Load()
	Halt(sys, old)
	next, err := sys.Spawn("x", nothingKind)
	if err != nil {
		t.Fatal(err)
	}
	c.leave() // what the run loop does, too late
	if next != old || next.to.cell.Load() == nil || sys.Stats().Actors != 1 {
		t.Error("the new actor lost its name")
	}
	if e := <-events; e.Type != ActorStopped || len(events) != 0 {
		t.Errorf("events: %v and %d more", e, len(events))
	}
}

// Addresses to which nothing refers any more are removed from the table.
func TestRefTableShrinks(t *testing.T) {
	sys := local(t)
	held := sys.Ref("held@there")
	for i := range 1000 {
		sys.Ref(string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + "@there")
	}
	for i := 0; ; i++ {
		runtime.GC()
		sys.refs.mu.RLock()
		n := len(sys.refs.weak)
		sys.refs.mu.RUnlock()
		if n == 1 {
			break
		}
		if i == 200 {
			t.Fatalf("%d addresses are kept, want 1", n)
		}
		time.Sleep(time.Millisecond) // cleanups run in a goroutine of the runtime's
	}
	if sys.Ref("held@there") != held {
		t.Error("a ref that was held differs from a new one")
	}
	runtime.KeepAlive(held)
}

type named struct{}

func (named) WireName() string { return "test.named" }

type box[T any] struct{ _ T }

func TestWireName(t *testing.T) {
	const here = "github.com/tandem-go/tandem/actor."
	for _, row := range []struct {
		typ  reflect.Type
		want string
	}{
		{reflect.TypeFor[int64](), "int64"},
		{reflect.TypeFor[error](), "error"},
		{reflect.TypeFor[nothing](), here + "nothing"},
		{reflect.TypeFor[*nothing](), "*" + here + "nothing"},
		{reflect.TypeFor[named](), "test.named"},
		{reflect.TypeFor[*named](), "*test.named"},
		{reflect.TypeFor[[]named](), "[]test.named"},
		{reflect.TypeFor[[3]nothing](), "[3]" + here + "nothing"},
		{reflect.TypeFor[map[string][]nothing](), "map[string][]" + here + "nothing"},
		{reflect.TypeFor[box[nothing]](), here + "box[" + here + "nothing]"},
		{reflect.TypeFor[struct{}](), "struct {}"},
	} {
		if got, err := wireName(row.typ); got != row.want || err != nil {
			t.Errorf("%v is %q, %v; want %q", row.typ, got, err, row.want)
		}
	}
}

// Type names are refused if another node could not tell them apart. A test cannot declare
// types of package main, so the pattern that finds such names is tested directly.
func TestWireNameRefusals(t *testing.T) {
	if name, err := wireName(reflect.TypeFor[struct{ A int }]()); err == nil {
		t.Errorf("a struct without a name is called %q", name)
	}
	for name, want := range map[string]bool{
		"main.T": true, "a/b.Box[main.T]": true, "a/b.Box[*main.T]": true, "a/b.Box[[]main.T]": true, "a/b.Box[int,main.T]": true,
		"a/main.T": false, "domain.T": false, "a/b.main": false, "x.main.T": false, "a/b.Box[c/main.T]": false,
	} {
		if ofMain.MatchString(name) != want {
			t.Errorf("%s: of package main: %v, want %v", name, !want, want)
		}
	}
}

// Two type names with the same id are detected.
func TestTypeTable(t *testing.T) {
	var table typeTable
	first := table.get(reflect.TypeFor[named]())
	if first.err != nil || table.get(reflect.TypeFor[named]()) != first || table.nameOf(first.id) != "test.named" {
		t.Errorf("%+v", first)
	}
	if got := table.nameOf(1); got != "unknown type 0000000000000001" {
		t.Errorf("an unknown id is %q", got)
	}
	table.names[transport.TypeID("int")] = "another"
	if m := table.get(reflect.TypeFor[int]()); rpc.CodeOf(m.err) != rpc.Invalid {
		t.Errorf("two names with one id: %v", m.err)
	}
}

// The fields that senders write are on another cache line than those that the run loop reads
// for every message, and a cell takes exactly these two lines.
func TestCellIsTwoCacheLines(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("pointers are shorter here")
	}
	if size, at := unsafe.Sizeof(cell{}), unsafe.Offsetof(cell{}.box); size != 128 || at != 64 {
		t.Errorf("%d bytes, the box at %d; want 128 and 64", size, at)
	}
}
