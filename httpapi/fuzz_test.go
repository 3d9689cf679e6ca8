package httpapi_test

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"log/slog"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/httpapi"
)

// Whatever the path, the headers and the body are, there is an answer that says whether the request ran; and what is sent
// twice under one key is answered twice in the same way.
func FuzzRequests(f *testing.F) {
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = sys.Shutdown(f.Context()) })
	desk, err := sys.Spawn("desk", deskKind)
	if err != nil {
		f.Fatal(err)
	}
	table, err := gateway.New(sys, gateway.Actor("desk", desk, deskKind))
	if err != nil {
		f.Fatal(err)
	}
	h, err := httpapi.New(table, httpapi.Config{MaxTimeout: time.Second})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range [][6]string{
		{"/desk/Deposit", `{"Amount":5}`, `"a"`, "1", "application/json", "respond-async"},
		{"/desk/Count", `{"To":2}`, "", "0.5", "text/event-stream", ""},
		{"/-/jobs/x", ``, `"\"`, "-1", "*/*;q=0", "wait=1"},
		{"/desk/Note", `{"Text":"` + strings.Repeat("[", 99), `"a" b`, "1e999", ",", `wait="`},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4], s[5])
	}
	f.Fuzz(func(t *testing.T, path, body, key, timeout, accept, prefer string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || strings.Contains(path, "Work") || strings.Contains(body, "Pause") { // these take their time
			return
		}
		answer := func() *httptest.ResponseRecorder {
			r := httptest.NewRequest("POST", "/", strings.NewReader(body))
			r.URL = u
			r.Header.Set("Content-Type", "application/json")
			for name, value := range map[string]string{"Idempotency-Key": key, "Request-Timeout": timeout, "Accept": accept, "Prefer": prefer} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w
		}
		a := answer()
		if ran := a.Header().Get("Tandem-Ran"); ran != "yes" && ran != "no" && ran != "unknown" && a.Code/100 != 3 {
			t.Fatalf("%d %s says that it ran: %q", a.Code, a.Body, ran)
		}
		if b := answer(); key != "" && a.Code == 200 && (b.Code != 200 || b.Body.String() != a.Body.String()) {
			t.Fatalf("under one key: %d %s, then %d %s", a.Code, a.Body, b.Code, b.Body)
		}
	})
}
