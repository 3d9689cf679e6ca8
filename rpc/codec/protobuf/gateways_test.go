package protobuf_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/httpapi"
	"github.com/tandem-go/tandem/natsapi"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/rpc/codec/protobuf"
	"github.com/tandem-go/tandem/rpc/codec/protobuf/internal/bankpb"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// asked is what a gateway has answered.
type asked struct {
	status    int
	body      string
	ran, code string
	replayed  bool
}

// doors are the gateways to one actor, which is on another node.
func doors(t *testing.T) map[string]func(message, key, body string) asked {
	c := newCluster(t, "TCP")
	heard := make(chan *bankpb.Entry, 10)
	kind := accountKind("open", heard)
	table, err := gateway.New(c.near, gateway.Actor("open", c.spawn(t, "open", kind), kind))
	if err != nil {
		t.Fatal(err)
	}
	handler, err := httpapi.New(table, httpapi.Config{Docs: true})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(handler)
	t.Cleanup(web.Close)
	bus := servers.Start(t, embedded.Config{})
	api, err := natsapi.Serve(c.ctx, natsapi.Config{Table: table, Logger: slog.New(slog.DiscardHandler), Connect: func(context.Context) (*nats.Conn, error) { return nats.Connect(bus.URL()) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close(context.Background()) })
	nc, err := nats.Connect(bus.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return map[string]func(message, key, body string) asked{
		"HTTP": func(message, key, body string) asked { return overHTTP(t, web, message, key, body) },
		"NATS": func(message, key, body string) asked { return overNATS(t, nc, message, key, body) },
	}
}

func overHTTP(t *testing.T, web *httptest.Server, message, key, body string) asked {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", web.URL+"/open/"+message, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", `"`+key+`"`)
	}
	a, err := web.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	var p gateway.Problem
	_ = json.Unmarshal(text, &p) // of an answer there is none
	return asked{a.StatusCode, string(text), a.Header.Get("Tandem-Ran"), p.Code, a.Header.Get("Tandem-Replayed") != ""}
}

func overNATS(t *testing.T, nc *nats.Conn, message, key, body string) asked {
	t.Helper()
	m := nats.NewMsg("tandem.api.-.open." + message)
	m.Data = []byte(body)
	if key != "" {
		m.Header.Set("Idempotency-Key", key)
	}
	a, err := nc.RequestMsg(m, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	status := 200
	var p gateway.Problem
	if a.Header.Get("Tandem-Code") != "" {
		_ = json.Unmarshal(a.Data, &p)
		status = p.Status
	}
	return asked{status, string(a.Data), a.Header.Get("Tandem-Ran"), p.Code, a.Header.Get("Tandem-Replayed") != ""}
}

// Gateways reach messages that are generated, in JSON, as they reach others.
func TestGateways(t *testing.T) {
	for name, ask := range doors(t) {
		t.Run(name, func(t *testing.T) {
			first := ask("Deposit", name, `{"account": "ann", "amount": 5, "notes": {"a": "b"}}`)
			if first.status != 200 || first.ran != "yes" || !strings.Contains(first.body, `"amount":"`) || first.replayed {
				t.Errorf("%+v", first)
			}
			again := ask("Deposit", name, `{"account": "ann", "amount": 5, "notes": {"a": "b"}}`)
			if again.body != first.body || !again.replayed {
				t.Errorf("again: %+v; at first: %+v", again, first)
			}
			if second := ask("Deposit", "", `{"amount": "7"}`); second.status != 200 || !strings.Contains(second.body, `"last":{"account":"ann","amount":"5"`) {
				t.Errorf("%+v", second)
			}
			if later := ask("Balance", "", `{"amount": "7", "last": {}}`); later.body != `{"amount":"7","last":{}}` {
				t.Errorf("an answer that is put off: %+v", later)
			}
			for _, bad := range []string{`{"amount": "x"}`, `{"amount": 1.5}`, `[`} {
				if a := ask("Deposit", "", bad); a.status != 400 || a.ran != "no" {
					t.Errorf("%s: %+v", bad, a)
				}
			}
			if a := ask("Entry", "", `{"text": "heard"}`); a.status >= 300 {
				t.Errorf("a one-way message: %+v", a)
			}
		})
	}
}

// A stream of generated messages has them in JSON, and the document of what is open has their schemas.
func TestGatewayStreams(t *testing.T) {
	ask := doors(t)["HTTP"]
	if a := ask("List", "", `{"above": "3"}`); strings.Count(a.body, "data: {") < 3 || !strings.Contains(a.body, `{"amount":"2","text":"2"}`) {
		t.Errorf("%+v", a)
	}
}

// The names and the schemas of a gateway's messages are those of its system's codecs.
func TestGatewayTable(t *testing.T) {
	kind := accountKind("open", nil)
	for _, row := range []struct {
		cfg  actor.Config
		want int
	}{{actor.Config{Codec: protobuf.New(codec.Limits{})}, 5}, {actor.Config{Codecs: []codec.Codec{protobuf.New(codec.Limits{})}}, 5}, {actor.Config{}, 0}} {
		row.cfg.Logger = slog.New(slog.DiscardHandler)
		sys, err := actor.NewSystem(row.cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
		open, err := gateway.New(sys, gateway.Service("open", kind))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, e := range open.Endpoints() {
			in, noIn := e.AskedSchema()
			out, noOut := e.AnsweredSchema()
			if noIn != nil || noOut != nil || row.want > 0 && e.Name == "Deposit" && (!strings.Contains(string(in), `"byYear"`) || !strings.Contains(string(out), `"description":"tandem.test.bank.Balance"`)) {
				t.Errorf("%s: %s, %v; %s, %v", e.Name, in, noIn, out, noOut)
			}
			if e.Message.Asked != nil && strings.HasPrefix(e.Message.Name, "pb:") {
				found++
			}
		}
		if found != row.want {
			t.Errorf("%d messages have a form of their own: %v", found, open.Endpoints())
		}
	}
}
