package httpapi_test

import (
	"encoding/json"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/httpapi"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/bubble"
)

// The actors of the tests.
type (
	deposit struct {
		actor.Returns[int]
		Amount int
	}
	owned struct{ actor.Returns[int] }
	note  struct{ Text string }
	count struct {
		actor.Streams[int]
		To    int
		Pause time.Duration
	}
	work struct {
		actor.Returns[string]
		Time   time.Duration
		Fails  string
		Panics bool
	}
)

func (deposit) WireName() string { return "bank.Deposit" }
func (owned) WireName() string   { return "bank.Owned" }
func (note) WireName() string    { return "bank.Note" }
func (count) WireName() string   { return "bank.Count" }
func (work) WireName() string    { return "bank.Work" }

var errPoor = rpc.NewError("bank.poor", "not enough money")

type account struct {
	Sum, Runs int
	notes     []string
}

func (a *account) deposit(_ *actor.Context, m deposit) (int, error) {
	if a.Sum+m.Amount < 0 {
		return 0, errPoor
	}
	a.Runs++
	a.Sum += m.Amount
	return a.Sum, nil
}

func (a *account) owned(*actor.Context, owned) (int, error) { return a.Sum, nil }
func (a *account) note(_ *actor.Context, m note) error      { a.notes = append(a.notes, m.Text); return nil }
func (a *account) work(ctx *actor.Context, m work) (string, error) {
	switch {
	case m.Panics:
		panic("work")
	case m.Fails == "poor":
		return "", errPoor
	case m.Fails != "":
		return "", errPlain
	}
	select {
	case <-time.After(m.Time):
	case <-ctx.Done():
		time.Sleep(time.Millisecond) // so that the caller's time is over before the answer comes
		return "", ctx.Err()
	}
	return ctx.Principal(), nil
}

func (a *account) count(ctx *actor.Context, m count) (iter.Seq2[int, error], error) {
	return func(yield func(int, error) bool) {
		for n := range m.To {
			select {
			case <-time.After(m.Pause):
			case <-ctx.Done():
				return
			}
			if !yield(n, nil) {
				return
			}
		}
		if m.To == 3 {
			yield(0, errPoor)
		}
	}, nil
}

type plainError string

func (e plainError) Error() string { return string(e) }

const errPlain = plainError("the password of the database is 1234")

var (
	accountKind = actor.Define("account", func() *account { return new(account) }, actor.Answer((*account).deposit),
		actor.Read((*account).owned)).With(actor.Virtual(), actor.Stored(func(a *account) *account { return a }))
	deskKind = actor.Define("desk", func() *account { return new(account) }, actor.Answer((*account).deposit), actor.Read((*account).owned),
		actor.Handle((*account).note), actor.Answer((*account).work), actor.Produce((*account).count))
)

// rig is a handler over actors of one node.
type rig struct {
	sys  *actor.System
	http http.Handler
}

// withRig runs a test in a bubble, with a stored account for each id, an actor "desk" and a service "desks".
func withRig(t *testing.T, cfg httpapi.Config, test func(t *testing.T, r rig)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		sys, err := actor.NewSystem(actor.Config{Name: "bank", Kinds: []*actor.Kind{accountKind, deskKind}, States: memory.New(memory.Config{}), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sys.Shutdown(t.Context()) })
		desk, err := sys.Spawn("desk", deskKind, actor.Expose("desks"))
		if err != nil {
			t.Fatal(err)
		}
		table, err := gateway.Config{Bindings: new(gateway.MemoryBindings)}.New(sys, gateway.Actor("desk", desk, deskKind), gateway.Service("desks", deskKind), gateway.Virtual("account", accountKind))
		if err != nil {
			t.Fatal(err)
		}
		h, err := httpapi.New(table, cfg)
		if err != nil {
			t.Fatal(err)
		}
		test(t, rig{sys, h})
	})
}

// request makes a request; headers are pairs of names and values.
func request(t *testing.T, method, path, body string, headers ...string) *http.Request {
	var r *http.Request
	if body != "" {
		r = httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
	} else {
		r = httptest.NewRequestWithContext(t.Context(), method, path, nil)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		}
	}
	return r
}

// do serves a request.
func (r rig) do(t *testing.T, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.http.ServeHTTP(w, request(t, method, path, body, headers...))
	return w
}

// want checks a status, a body if it is not empty, and headers: pairs of names and values.
func want(t *testing.T, what string, w *httptest.ResponseRecorder, status int, body string, headers ...string) {
	t.Helper()
	if w.Code != status || body != "" && w.Body.String() != body {
		t.Errorf("%s: %d %s, want %d %s", what, w.Code, w.Body, status, body)
	}
	for i := 0; i < len(headers); i += 2 {
		if got := w.Header().Get(headers[i]); got != headers[i+1] {
			t.Errorf("%s: %s: %q, want %q", what, headers[i], got, headers[i+1])
		}
	}
	if w.Code >= 400 {
		var p struct {
			Status int
			Ran    string
			Code   string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code || p.Ran != w.Header().Get("Tandem-Ran") || p.Code == "" || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: problem %s, %v", what, w.Body, err)
		}
	}
}
