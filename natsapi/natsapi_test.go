package natsapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/natsapi"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// A client with plain NATS reaches each kind of target, and its headers are read in upper and lower case.
func TestRequests(t *testing.T) {
	r := newRig(t, embedded.Config{})
	r.serve(natsapi.Config{})
	want(t, "an actor", r.ask("desk.Deposit", `{"Amount": 5}`), `5`, "Tandem-Ran", "yes", "Tandem-Replayed", "", "Content-Type", "", "Nats-Service-Error", "", "Tandem-Code", "")
	want(t, "a service", r.ask("desks.Deposit", `{"Amount": 5}`), `10`, "Tandem-Ran", "yes")
	want(t, "a virtual actor", r.ask("account.7.Deposit", `{"Amount": 5}`), `5`, "Tandem-Ran", "yes")
	want(t, "another one", r.ask("account."+natsapi.Escape("eu.ann*>%é")+".Deposit", `{"Amount": 6}`), `6`)
	want(t, "without a body", r.ask("desk.Deposit", ``), `10`)

	for _, c := range [][3]string{{"desk.Deposit", "Idempotency-Key", "a"}, {"desk.Deposit", "idempotency-KEY", "b"}, {"desks.Deposit", "Idempotency-Key", `"c"`}, {"account.8.Deposit", "Idempotency-Key", "a"}} {
		first := r.ask(c[0], `{"Amount": 5}`, c[1], c[2])
		want(t, c[1]+" at first", first, "", "Tandem-Ran", "yes", "Tandem-Replayed", "")
		want(t, c[1]+" again", r.ask(c[0], `{"Amount": 5}`, c[1], c[2]), string(first.Data), "Tandem-Ran", "yes", "Tandem-Replayed", "true")
	}
	want(t, "a key without its quotes", r.ask("desks.Deposit", `{"Amount": 5}`, "Idempotency-Key", `c`), ``, "Tandem-Replayed", "true")
	refused(t, "the key of another body", r.ask("desk.Deposit", `{"Amount": 6}`, "Idempotency-Key", "a"), "422", "id-reused", "yes")
	want(t, "an error at first", r.ask("desk.Wait", `{"Fail": "poor"}`, "Idempotency-Key", "e"), ``, "Nats-Service-Error-Code", "422", "Tandem-Replayed", "")
	want(t, "an error again", r.ask("desk.Wait", `{"Fail": "poor"}`, "Idempotency-Key", "e"), ``, "Nats-Service-Error-Code", "422", "Tandem-Replayed", "true", "Tandem-Ran", "yes")

	want(t, "a trace", r.ask("desk.Trace", ``, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), `"0af7651916cd43dd8448eb211c80319c"`)
	want(t, "a bad trace", r.ask("desk.Trace", ``, "traceparent", "00-0af"), ``, "Tandem-Ran", "yes")
	want(t, "a one-way message", r.ask("desk.Note", `{"Text": "hello"}`), ``, "Tandem-Ran", "unknown", "Nats-Service-Error", "")
	if got := <-r.desk.notes; got != "hello" {
		t.Error(got)
	}
}

// Who asks is the subject's token.
func TestPrincipals(t *testing.T) {
	r := newRig(t, embedded.Config{})
	r.serve(natsapi.Config{})
	r.serve(natsapi.Config{Prefix: "other", Principal: func(token string) (string, error) {
		if token == "mallory" {
			return "", context.Canceled
		}
		return "user:" + strings.ToUpper(token), nil
	}})
	for subject, want := range map[string]string{"tandem.api.ann": `"nats:ann"`, "tandem.api.-": `"anonymous"`, "other.ann": `"user:ANN"`} {
		m, err := r.conn.Request(subject+".desk.Who", nil, 10*time.Second)
		if err != nil || string(m.Data) != want {
			t.Errorf("%s: %v, %v", subject, m, err)
		}
	}
	m, err := r.conn.Request("other.mallory.desk.Who", nil, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "nobody", m, "403", "denied", "no")
	if bytes.Contains(m.Data, []byte("canceled")) {
		t.Errorf("%s", m.Data)
	}
	want(t, "ann's key", r.ask("desk.Deposit", `{"Amount": 5}`, "Idempotency-Key", "k"), `5`)
	bob, err := r.conn.RequestMsg(message("tandem.api.bob.desk.Deposit", `{"Amount": 5}`, "Idempotency-Key", "k"), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "bob's key of the same name", bob, `10`, "Tandem-Replayed", "")
}

// items reads a stream until its end.
func (r *rig) items(subject, body string, headers ...string) (items []string, end *nats.Msg) {
	r.t.Helper()
	inbox := r.conn.NewRespInbox()
	sub, err := r.conn.SubscribeSync(inbox)
	if err != nil {
		r.t.Fatal(err)
	}
	defer sub.Unsubscribe()
	m := message(subject, body, headers...)
	m.Reply = inbox
	if err := r.conn.PublishMsg(m); err != nil {
		r.t.Fatal(err)
	}
	for {
		m, err := sub.NextMsgWithContext(servers.Within(r.t, 30*time.Second))
		if err != nil {
			r.t.Fatal(err)
		}
		if m.Header.Get("Tandem-End") != "" {
			return items, m
		}
		items = append(items, string(m.Data))
		want(r.t, "an item", m, "", "Tandem-Item", strconv.Itoa(len(items)), "Tandem-Ran", "yes")
	}
}

// A stream is a message for each item, in order, and one for the end.
func TestStreams(t *testing.T) {
	r := newRig(t, embedded.Config{})
	r.serve(natsapi.Config{})
	items, end := r.items("tandem.api.ann.desk.Count", `{"To": 500}`)
	if len(items) != 500 || items[499] != "499" {
		t.Errorf("%d items", len(items))
	}
	want(t, "the end", end, "", "Tandem-End", "500", "Tandem-Ran", "yes", "Nats-Service-Error", "")
	items, end = r.items("tandem.api.ann.desk.Count", `{"To": 3, "Fail": true}`)
	if len(items) != 3 {
		t.Errorf("%q", items)
	}
	want(t, "an error's end", end, "", "Tandem-End", "3")
	refused(t, "an error's end", end, "422", "failed", "yes")
	items, end = r.items("tandem.api.ann.desk.Count", `{"To": 2, "Hang": true}`, "Request-Timeout", "0.2")
	r.desk.leave <- "the stream whose time is over"
	if len(items) != 2 {
		t.Errorf("%q", items)
	}
	want(t, "the end of the time", end, "", "Tandem-End", "2", "Tandem-Code", "expired", "Nats-Service-Error-Code", "504")
	_, end = r.items("tandem.api.ann.desk.Count", `{`)
	refused(t, "a stream that does not open", end, "400", "undecodable", "no")
	_, end = r.items("tandem.api.ann.desk.Count", `{}`, "Idempotency-Key", "k")
	refused(t, "a stream with a key", end, "400", "invalid", "no")
}

// A job is submitted, polled, awaited and cancelled by the principal that it belongs to.
func TestJobs(t *testing.T) {
	r := newRig(t, embedded.Config{})
	r.serve(natsapi.Config{})
	type job struct{ Token, State, Result string }
	about := func(m *nats.Msg) (j job) {
		t.Helper()
		if err := json.Unmarshal(m.Data, &j); err != nil {
			t.Errorf("%s: %v", m.Data, err)
		}
		return j
	}
	submit := func() string {
		t.Helper()
		m := r.ask("desk.Wait", `{"Name": "a"}`, "Prefer", "respond-async")
		want(t, "submit", m, "", "Tandem-Ran", "unknown", "Nats-Service-Error", "")
		<-r.desk.entered
		return `{"token": "` + about(m).Token + `"}`
	}
	token := submit()
	if j := about(r.ask("jobs.poll", token)); j.State != "running" {
		t.Errorf("%+v", j)
	}
	if j := about(r.ask("jobs.await", token, "Request-Timeout", "0.1")); j.State != "running" {
		t.Errorf("%+v", j)
	}
	m, err := r.conn.Request("tandem.api.bob.jobs.poll", []byte(token), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "another's job", m, "403", "denied", "no")
	r.desk.leave <- "b"
	m = r.ask("jobs.await", token)
	want(t, "await", m, "", "Tandem-Ran", "yes")
	if j := about(m); j.State != "done" || j.Result != "b" {
		t.Errorf("%s", m.Data)
	}
	token = submit()
	r.ask("jobs.cancel", token)
	m = r.ask("jobs.await", token)
	if j := about(m); j.State != "cancelled" || !bytes.Contains(m.Data, []byte(`"error"`)) {
		t.Errorf("%s", m.Data)
	}
	refused(t, "no token", r.ask("jobs.poll", `{}`), "400", "undecodable", "no")
	refused(t, "a token of nothing", r.ask("jobs.poll", `{"token": "nothing"}`), "400", "invalid", "no")
}
