package natsapi_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/natsapi"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// Every error says what went wrong and whether the request ran.
func TestErrors(t *testing.T) {
	r := newRig(t, embedded.Config{MaxPayload: 32 << 10})
	r.serve(natsapi.Config{MaxBody: 10_000})
	for what, c := range map[string]struct {
		m                 *nats.Msg
		status, code, ran string
	}{
		"bad JSON":                    {r.ask("desk.Deposit", `{"Amount"`), "400", "undecodable", "no"},
		"JSON of another type":        {r.ask("desk.Deposit", `{"Amount": "five"}`), "400", "undecodable", "no"},
		"a body that is too long":     {r.ask("desk.Deposit", strings.Repeat(" ", 10_001)), "413", "too-large", "no"},
		"a key that is too long":      {r.ask("desk.Deposit", `{}`, "Idempotency-Key", strings.Repeat("k", 256)), "400", "invalid", "no"},
		"an empty key":                {r.ask("desk.Deposit", `{}`, "Idempotency-Key", ""), "400", "invalid", "no"},
		"two keys":                    {r.ask("desk.Deposit", `{}`, "Idempotency-Key", "a", "idempotency-key", "b"), "400", "invalid", "no"},
		"a key of a one-way message":  {r.ask("desk.Note", `{}`, "Idempotency-Key", "a"), "400", "invalid", "no"},
		"a timeout that is no number": {r.ask("desk.Deposit", `{}`, "Request-Timeout", "soon"), "400", "invalid", "no"},
		"a timeout below 0":           {r.ask("desk.Deposit", `{}`, "Request-Timeout", "-1"), "400", "invalid", "no"},
		"a timeout that is NaN":       {r.ask("desk.Deposit", `{}`, "Request-Timeout", "NaN"), "400", "invalid", "no"},
		"headers that are too long":   {r.ask("desk.Deposit", `{}`, "X", strings.Repeat("x", 17_000)), "413", "too-large", "no"},
		"too many headers":            {r.ask("desk.Deposit", `{}`, strings.Split(strings.Repeat("X,x,", 65), ",")[:130]...), "413", "too-large", "no"},
		"an id that is no id":         {r.ask("account.a%zz.Deposit", `{}`), "400", "invalid", "no"},
		"an error of its own":         {r.ask("desk.Wait", `{"Fail": "poor"}`), "422", "failed", "yes"},
		"an error":                    {r.ask("desk.Wait", `{"Fail": "1234"}`), "500", "failed", "yes"},
		"a panic":                     {r.ask("desk.Wait", `{"Fail": "panic"}`), "500", "panicked", "yes"},
		"an answer that is too long":  {r.ask("desk.Large", `{"Size": 33000}`), "500", "reply-dropped", "yes"},
		"the time is over":            {r.ask("desk.Wait", `{"Name": "a", "Deaf": true}`, "Request-Timeout", "0.1"), "504", "expired", "unknown"},
	} {
		refused(t, what, c.m, c.status, c.code, c.ran)
		if strings.Contains(string(c.m.Data), "1234") || strings.Contains(c.m.Header.Get("Nats-Service-Error"), "1234") {
			t.Errorf("%s: it tells of the inside: %s", what, c.m.Data)
		}
	}
	r.desk.leave <- "the one whose time is over"
	own := r.ask("desk.Wait", `{"Fail": "poor"}`)
	want(t, "the text of an error, in one line", own, "", "Nats-Service-Error", "not enough money")
	if !strings.Contains(string(own.Data), `"user":"bank.poor"`) {
		t.Errorf("%s", own.Data)
	}
	items, end := r.items("tandem.api.ann.desk.Count", `{"To": 1}`)
	if len(items) != 1 {
		t.Error(items, end)
	}
	for _, subject := range []string{"desk.Nothing", "nothing.Deposit", "desk.7.Deposit", "account.Deposit", "jobs.nothing"} {
		if m, err := r.conn.Request("tandem.api.ann."+subject, nil, 10*time.Second); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s: %v, %v", subject, m, err)
		}
	}
	r.sys.SetAccess(access.Rules{List: []access.Rule{{Effect: access.Deny, Principals: []string{"nats:ann"}, Messages: []string{"bank.Who"}}}})
	refused(t, "the access list", r.ask("desk.Who", ``), "403", "denied", "no")
}

// Requests over the limit are refused at once, and later ones are served again.
func TestOverload(t *testing.T) {
	for _, cfg := range []natsapi.Config{{MaxRequests: 1}, {MaxBytes: 20}} {
		r := newRig(t, embedded.Config{})
		r.serve(cfg)
		first := make(chan *nats.Msg)
		go func() {
			m, _ := r.conn.Request("tandem.api.ann.desk.Wait", []byte(`{"Name": "a"}`), 30*time.Second)
			first <- m
		}()
		<-r.desk.entered
		m := r.ask("desks.Deposit", `{"Amount": 5}`)
		refused(t, "over the limit", m, "429", "overloaded", "no")
		want(t, "over the limit", m, "", "Retry-After", "1")
		r.desk.leave <- "b"
		want(t, "the first one", <-first, `"b"`)
		for r.ask("desk.Deposit", `{}`).Header.Get("Tandem-Code") != "" { // it leaves just after its answer was sent
		}
	}
}

// Close waits for requests that run, and ends them when it may not wait any longer. What comes meanwhile goes to another
// gateway, or has no responders.
func TestClose(t *testing.T) {
	r := newRig(t, embedded.Config{})
	for _, patient := range []bool{true, false} {
		s := r.serve(natsapi.Config{})
		first := make(chan *nats.Msg, 1)
		go func() {
			m, _ := r.conn.Request("tandem.api.ann.desk.Wait", []byte(`{"Name": "a", "Deaf": true}`), 30*time.Second)
			first <- m
		}()
		<-r.desk.entered
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Close(ctx) }()
		for {
			m, err := r.conn.Request("tandem.api.ann.desk.Who", nil, 10*time.Second)
			if errors.Is(err, nats.ErrNoResponders) {
				break
			}
			if err == nil && m.Header.Get("Tandem-Code") == "leaving" {
				refused(t, "while it stops", m, "503", "leaving", "no")
			}
		}
		select {
		case err := <-ended:
			t.Fatal("it did not wait:", err)
		default:
		}
		if patient {
			r.desk.leave <- "b"
			want(t, "the request that ran", <-first, `"b"`)
			if err := <-ended; err != nil {
				t.Error(err)
			}
		} else {
			cancel()
			refused(t, "the request that ran", <-first, "504", "canceled", "unknown")
			r.desk.leave <- "b"
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		cancel()
		if err := s.Close(t.Context()); err != nil != !patient {
			t.Error("again:", err)
		}
	}
}

// A gateway that dies between two attempts with one key leaves the outcome to another one: the request runs once.
func TestGatewayRestarted(t *testing.T) {
	r := newRig(t, embedded.Config{})
	for _, to := range []string{"desk", "desks", "account.7"} {
		r.desk.Sum = 0
		var conn *nats.Conn
		dying, err := natsapi.Serve(t.Context(), natsapi.Config{Table: r.table, Connect: func(context.Context) (*nats.Conn, error) {
			var err error
			conn, err = r.nats.Connect()
			return conn, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		if r.conn == nil {
			r.conn = r.connect()
		}
		want(t, to, r.ask(to+".Deposit", `{"Amount": 5}`, "Idempotency-Key", "k"+to), `5`, "Tandem-Replayed", "")
		conn.Close()                           // the process is gone, as NATS sees it
		for r.nats.Server().NumClients() > 1 { // until NATS has noticed
			time.Sleep(time.Millisecond)
		}
		again := r.serve(natsapi.Config{})
		want(t, to+" again", r.ask(to+".Deposit", `{"Amount": 5}`, "Idempotency-Key", "k"+to), `5`, "Tandem-Replayed", "true")
		want(t, to+" under another key", r.ask(to+".Deposit", `{"Amount": 5}`, "Idempotency-Key", "l"+to), `10`, "Tandem-Replayed", "")
		if err := errors.Join(again.Close(t.Context()), dying.Close(servers.Within(t, 10*time.Second))); err != nil {
			t.Error(err)
		}
	}
}

// A Config that cannot work is refused.
func TestConfig(t *testing.T) {
	r := newRig(t, embedded.Config{})
	connect := func(context.Context) (*nats.Conn, error) { return r.nats.Connect() }
	for what, cfg := range map[string]natsapi.Config{
		"nothing":                  {},
		"no connection":            {Table: r.table},
		"a wildcard in the prefix": {Table: r.table, Connect: connect, Prefix: "a.*"},
		"any reply subject":        {Table: r.table, Connect: connect, Inboxes: []string{""}},
		"a version that is none":   {Table: r.table, Connect: connect, Version: "new"},
		"no server":                {Table: r.table, Connect: func(context.Context) (*nats.Conn, error) { return nats.Connect("nats://127.0.0.1:1") }},
	} {
		if s, err := natsapi.Serve(t.Context(), cfg); err == nil {
			_ = s.Close(t.Context())
			t.Errorf("%s: no error", what)
		}
	}
}
