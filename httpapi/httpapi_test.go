package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/httpapi"
)

// A request reaches its actor, and its answer says that it ran. Under a key it runs once.
func TestCalls(t *testing.T) {
	withRig(t, httpapi.Config{}, func(t *testing.T, r rig) {
		want(t, "an actor", r.do(t, "POST", "/desk/Deposit", `{"Amount":5}`), 200, "5", "Tandem-Ran", "yes", "Content-Type", "application/json", "Tandem-Replayed", "")
		want(t, "a service", r.do(t, "POST", "/desks/Deposit", `{"Amount":5}`), 200, "10")
		want(t, "a virtual actor", r.do(t, "POST", "/account/ann/Deposit", `{"Amount":7}`), 200, "7")
		want(t, "another one", r.do(t, "POST", "/account/bob/Deposit", `{"Amount":1}`), 200, "1")
		want(t, "without a body", r.do(t, "POST", "/account/ann/Owned", ""), 200, "7")
		want(t, "a read by GET", r.do(t, "GET", "/account/ann/Owned", ""), 200, "7")
		want(t, "one-way", r.do(t, "POST", "/desk/Note", `{"Text":"x"}`), 202, "", "Tandem-Ran", "unknown")
		for _, path := range []string{"/desk/Deposit", "/desks/Deposit", "/account/ann/Deposit"} {
			if path == "/desks/Deposit" { // its only instance is the desk, where the key is known
				want(t, "a key that the instance knows", r.do(t, "POST", path, `{"Amount":1}`, "Idempotency-Key", `a"b`), 200, "", "Tandem-Replayed", "true")
				continue
			}
			first := r.do(t, "POST", path, `{"Amount":1}`, "Idempotency-Key", `"a\"b"`)
			want(t, "with a key", first, 200, "", "Tandem-Replayed", "")
			want(t, "again", r.do(t, "POST", path, `{"Amount":1}`, "Idempotency-Key", `"a\"b"`), 200, first.Body.String(), "Tandem-Replayed", "true", "Tandem-Ran", "yes")
			want(t, "again, without quotes", r.do(t, "POST", path, `{"Amount":1}`, "Idempotency-Key", `a"b`), 200, first.Body.String(), "Tandem-Replayed", "true")
			want(t, "another body under the key", r.do(t, "POST", path, `{"Amount":2}`, "Idempotency-Key", `"a\"b"`), 422, "", "Tandem-Code", "id-reused", "Tandem-Ran", "yes")
		}
		want(t, "an error of the application's own", r.do(t, "POST", "/account/ann/Deposit", `{"Amount":-99}`, "Idempotency-Key", "poor"), 422, "", "Tandem-Ran", "yes", "Tandem-Code", "failed")
		w := r.do(t, "POST", "/account/ann/Deposit", `{"Amount":-99}`, "Idempotency-Key", "poor")
		want(t, "again", w, 422, "", "Tandem-Ran", "yes", "Tandem-Replayed", "true")
		if !strings.Contains(w.Body.String(), `"user":"bank.poor"`) || !strings.Contains(w.Body.String(), "not enough money") {
			t.Error(w.Body)
		}
	})
}

// Whatever is wrong with a request has its status, and says whether it ran.
func TestBadRequests(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
	rows := []struct {
		what, method, path, body string
		headers                  []string
		status                   int
		ran                      string
	}{
		{"nothing there", "POST", "/nobody/Deposit", "{}", nil, 404, "no"},
		{"no such message", "POST", "/desk/Withdraw", "{}", nil, 404, "no"},
		{"no such path", "POST", "/", "{}", nil, 404, "no"},
		{"too long a path", "POST", "/a/b/c/d", "{}", nil, 404, "no"},
		{"an id where there is none", "POST", "/desk/ann/Deposit", "{}", nil, 400, "no"},
		{"no id", "POST", "/account/Deposit", "{}", nil, 400, "no"},
		{"an id that is none", "POST", "/account/a%2Fb/Deposit", "{}", nil, 400, "no"},
		{"an id that is too long", "POST", "/account/" + strings.Repeat("a", 201) + "/Deposit", "{}", nil, 400, "no"},
		{"another method", "PUT", "/desk/Deposit", "{}", nil, 405, "no"},
		{"GET of what changes", "GET", "/desk/Deposit", "", nil, 405, "no"},
		{"no JSON", "POST", "/desk/Deposit", "{", nil, 400, "no"},
		{"behind the JSON", "POST", "/desk/Deposit", "{} {}", nil, 400, "no"},
		{"of another type", "POST", "/desk/Deposit", `{"Amount":"x"}`, nil, 400, "no"},
		{"a number out of range", "POST", "/desk/Deposit", `{"Amount":9223372036854775808}`, nil, 400, "no"},
		{"not a whole number", "POST", "/desk/Deposit", `{"Amount":1.5}`, nil, 400, "no"},
		{"too deep", "POST", "/desk/Deposit", deep, nil, 413, "no"},
		{"at the limit", "POST", "/desk/Note", `{"Text":"` + strings.Repeat("x", 1<<20-11) + `"}`, nil, 202, "unknown"},
		{"beyond the limit", "POST", "/desk/Note", `{"Text":"` + strings.Repeat("x", 1<<20-10) + `"}`, nil, 413, "no"},
		{"another media type", "POST", "/desk/Deposit", "{}", []string{"Content-Type", "", "Content-Type", "text/plain"}, 415, "no"},
		{"a form", "POST", "/desk/Deposit", "{}", []string{"Content-Type", "", "Content-Type", "application/x-www-form-urlencoded"}, 415, "no"},
		{"no media type", "POST", "/desk/Deposit", "{}", []string{"Content-Type", ""}, 415, "no"},
		{"another charset", "POST", "/desk/Deposit", "{}", []string{"Content-Type", "", "Content-Type", "application/json; charset=latin1"}, 415, "no"},
		{"UTF-8", "POST", "/desk/Deposit", "{}", []string{"Content-Type", "", "Content-Type", "application/json; charset=utf-8"}, 200, "yes"},
		{"compressed", "POST", "/desk/Deposit", "{}", []string{"Content-Encoding", "gzip"}, 415, "no"},
		{"wants XML", "POST", "/desk/Deposit", "{}", []string{"Accept", "text/xml"}, 406, "no"},
		{"wants anything", "POST", "/desk/Deposit", "{}", []string{"Accept", "text/xml, */*;q=0.1"}, 200, "yes"},
		{"a stream as JSON", "POST", "/desk/Count", "{}", []string{"Accept", "application/json"}, 406, "no"},
		{"an empty key", "POST", "/desk/Deposit", "{}", []string{"Idempotency-Key", `""`}, 400, "no"},
		{"the longest key", "POST", "/desk/Deposit", "{}", []string{"Idempotency-Key", strings.Repeat("k", 255)}, 200, "yes"},
		{"a longer one", "POST", "/desk/Deposit", "{}", []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, "no"},
		{"two keys", "POST", "/desk/Deposit", "{}", []string{"Idempotency-Key", "a", "Idempotency-Key", "b"}, 400, "no"},
		{"a key that does not end", "POST", "/desk/Deposit", "{}", []string{"Idempotency-Key", `"a`}, 400, "no"},
		{"behind the key", "POST", "/desk/Deposit", "{}", []string{"Idempotency-Key", `"a" b`}, 400, "no"},
		{"a key of a one-way message", "POST", "/desk/Note", "{}", []string{"Idempotency-Key", "a"}, 400, "no"},
		{"no time", "POST", "/desk/Deposit", "{}", []string{"Request-Timeout", "soon"}, 400, "no"},
		{"no time left", "POST", "/desk/Deposit", "{}", []string{"Request-Timeout", "0"}, 400, "no"},
		{"not a number", "POST", "/desk/Deposit", "{}", []string{"Request-Timeout", "NaN"}, 400, "no"},
		{"a very long time", "POST", "/desk/Deposit", "{}", []string{"Request-Timeout", "1e300"}, 200, "yes"},
		{"a trace that is none", "POST", "/desk/Deposit", "{}", []string{"Traceparent", "00-x"}, 200, "yes"},
		{"a plain error", "POST", "/desk/Work", `{"Fails":"x"}`, nil, 500, "yes"},
		{"a panic", "POST", "/desk/Work", `{"Panics":true}`, nil, 500, "yes"},
		{"no such job", "GET", "/-/jobs/bank:AAAAAAAAAAAAAAAAAAAAAAAAAA", "", nil, 404, "unknown"},
		{"no token", "GET", "/-/jobs/x", "", nil, 400, "no"},
		{"docs that are closed", "GET", "/-/docs", "", nil, 404, "no"},
	}
	for _, c := range rows {
		withRig(t, httpapi.Config{}, func(t *testing.T, r rig) {
			w := r.do(t, c.method, c.path, c.body, c.headers...)
			want(t, c.what, w, c.status, "", "Tandem-Ran", c.ran)
			if strings.Contains(w.Body.String(), "1234") {
				t.Errorf("%s: the answer shows the inside: %s", c.what, w.Body)
			}
		})
	}
}

// Who may not is refused, and nobody sees the keys and jobs of others.
func TestPrincipals(t *testing.T) {
	cfg := httpapi.Config{Principal: func(r *http.Request) (string, error) {
		if who := r.Header.Get("Who"); who != "" {
			return "web:" + who, nil
		}
		return "", errPlain
	}}
	withRig(t, cfg, func(t *testing.T, r rig) {
		err := r.sys.SetAccess(access.Rules{Default: access.Deny, List: []access.Rule{
			{Effect: access.Allow, Principals: []string{"web:ann"}},
			{Effect: access.Allow, Principals: []string{"web:bob"}, Messages: []string{"bank.Owned"}},
			{Effect: access.Allow, Principals: []string{"web:bob"}, Ops: access.Redeem},
		}})
		if err != nil {
			t.Fatal(err)
		}
		want(t, "nobody", r.do(t, "POST", "/desk/Deposit", "{}"), 401, "", "Tandem-Ran", "no")
		want(t, "ann", r.do(t, "POST", "/desk/Deposit", `{"Amount":1}`, "Who", "ann"), 200, "1")
		want(t, "bob", r.do(t, "POST", "/desk/Deposit", `{"Amount":1}`, "Who", "bob"), 403, "", "Tandem-Code", "denied", "Tandem-Ran", "no")
		want(t, "bob reads", r.do(t, "POST", "/desk/Owned", `{}`, "Who", "bob"), 200, "1")
		want(t, "eve", r.do(t, "POST", "/desk/Owned", `{}`, "Who", "eve"), 403, "")
		job := r.do(t, "POST", "/desk/Work", "{}", "Who", "ann", "Prefer", "respond-async")
		want(t, "a job", job, 202, `{"state":"accepted"}`)
		at := job.Header().Get("Location")
		want(t, "ann's job", r.do(t, "GET", at, "", "Who", "ann", "Prefer", "wait=5"), 200, `{"state":"done","result":"web:ann"}`, "Tandem-Ran", "yes")
		want(t, "to bob", r.do(t, "GET", at, "", "Who", "bob"), 403, "")
		want(t, "to nobody", r.do(t, "GET", at, ""), 401, "")
	})
}

// A job can be waited for and cancelled, and under a key it is one job.
func TestJobs(t *testing.T) {
	withRig(t, httpapi.Config{}, func(t *testing.T, r rig) {
		submit := func(body string, headers ...string) string {
			t.Helper()
			w := r.do(t, "POST", "/desk/Work", body, append(headers, "Prefer", "respond-async")...)
			want(t, "submit", w, 202, `{"state":"accepted"}`)
			return w.Header().Get("Location")
		}
		first := submit(`{"Time":10000000000}`, "Idempotency-Key", "j")
		if again := submit(`{"Time":10000000000}`, "Idempotency-Key", "j"); again != first {
			t.Errorf("two jobs under one key: %s, %s", first, again)
		}
		synctest.Wait() // until it runs
		want(t, "at once", r.do(t, "GET", first, ""), 200, `{"state":"running"}`, "Tandem-Ran", "unknown")
		begun := time.Now()
		want(t, "after 3 s", r.do(t, "GET", first, "", "Prefer", "wait=3"), 200, `{"state":"running"}`)
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("waited %v", took)
		}
		want(t, "when it has ended", r.do(t, "GET", first, "", "Prefer", "respond-async, wait=\"30\""), 200, `{"state":"done","result":"anonymous"}`)
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("waited %v", took)
		}
		second := submit(`{"Time":10000000000}`)
		r.do(t, "DELETE", second, "")
		w := r.do(t, "GET", second, "", "Prefer", "wait=1")
		if !strings.Contains(w.Body.String(), `"state":"cancelled"`) || w.Code != 200 {
			t.Errorf("a cancelled job: %d %s", w.Code, w.Body)
		}
		w = r.do(t, "GET", submit(`{"Fails":"poor"}`), "", "Prefer", "wait=1")
		if !strings.Contains(w.Body.String(), `"state":"failed"`) || !strings.Contains(w.Body.String(), "bank.poor") || w.Header().Get("Tandem-Ran") != "yes" {
			t.Errorf("a job that failed: %d %s", w.Code, w.Body)
		}
		want(t, "a job of a service has no key", r.do(t, "POST", "/desks/Work", "{}", "Prefer", "respond-async", "Idempotency-Key", "k"), 400, "")
	})
}

// A stream is Server-Sent Events, with its end or its error as the last one.
func TestStreams(t *testing.T) {
	withRig(t, httpapi.Config{}, func(t *testing.T, r rig) {
		items := "id: 0\ndata: 0\n\nid: 1\ndata: 1\n\n"
		want(t, "by POST", r.do(t, "POST", "/desk/Count", `{"To":2}`), 200, items+"event: end\ndata: {}\n\n", "Content-Type", "text/event-stream", "Tandem-Ran", "yes")
		want(t, "by GET", r.do(t, "GET", "/desk/Count?body=%7B%22To%22:2%7D", "", "Accept", "text/event-stream"), 200, items+"event: end\ndata: {}\n\n")
		w := r.do(t, "POST", "/desk/Count", `{"To":3}`)
		if !strings.HasPrefix(w.Body.String(), items) || !strings.Contains(w.Body.String(), "event: error\ndata: {") || !strings.Contains(w.Body.String(), "bank.poor") {
			t.Errorf("a stream that fails: %s", w.Body)
		}
		want(t, "slow", r.do(t, "POST", "/desk/Count", `{"To":1,"Pause":20000000000}`), 200, ":\n\n:\n\nid: 0\ndata: 0\n\nevent: end\ndata: {}\n\n", "Tandem-Ran", "unknown")
		want(t, "refused", r.do(t, "POST", "/desk/Count", `{"To":"x"}`), 400, "", "Tandem-Ran", "no")
		want(t, "with a key", r.do(t, "POST", "/desk/Count", `{}`, "Idempotency-Key", "k"), 400, "", "Tandem-Ran", "no")
		w = r.do(t, "POST", "/desk/Count", `{"To":100,"Pause":1000000000}`, "Request-Timeout", "2.5")
		if !strings.HasPrefix(w.Body.String(), items+"event: error\n") || !strings.Contains(w.Body.String(), `"expired"`) {
			t.Errorf("a stream whose time is over: %s", w.Body)
		}
		busy := make(chan *httptest.ResponseRecorder)
		go func() { busy <- r.do(t, "POST", "/desk/Work", `{"Time":10000000000}`) }()
		synctest.Wait() // until the actor is busy, so that no stream is opened
		w = r.do(t, "POST", "/desk/Count", `{"To":2}`, "Request-Timeout", "1")
		if w.Code != 504 || w.Header().Get("Tandem-Ran") == "yes" {
			t.Errorf("a stream that was not opened in time: %d, ran %s: %s", w.Code, w.Header().Get("Tandem-Ran"), w.Body)
		}
		w = r.do(t, "POST", "/desk/Count", `{"To":2}`, "Request-Timeout", "5")
		if w.Code != 200 || w.Header().Get("Tandem-Ran") != "unknown" || !strings.HasPrefix(w.Body.String(), ":\n\nevent: error\n") || strings.Contains(w.Body.String(), `"ran":"yes"`) {
			t.Errorf("the same, when the answer had begun: %d, ran %s: %s", w.Code, w.Header().Get("Tandem-Ran"), w.Body)
		}
		want(t, "what the actor was busy with", <-busy, 200, `"anonymous"`)
	})
}

// A client's time, and its end, are those of the handler too. Under one key a request waits for the one that runs, or is refused.
func TestDeadlinesAndLeaving(t *testing.T) {
	for _, running := range []httpapi.Running{httpapi.Wait, httpapi.Conflict} {
		withRig(t, httpapi.Config{Running: running, MaxRequests: 2}, func(t *testing.T, r rig) {
			begun := time.Now()
			want(t, "a deadline", r.do(t, "POST", "/desk/Work", `{"Time":60000000000}`, "Request-Timeout", "0.5"), 504, "", "Tandem-Ran", "unknown")
			if took := time.Since(begun); took != 500*time.Millisecond {
				t.Errorf("waited %v", took)
			}
			want(t, "the handler has ended too", r.do(t, "POST", "/desk/Owned", `{}`), 200, "0")
			if took := time.Since(begun); took > 600*time.Millisecond {
				t.Errorf("the actor was busy until %v", took)
			}
			ctx, leave := context.WithCancel(t.Context())
			left := make(chan *httptest.ResponseRecorder, 1)
			go func() {
				w := httptest.NewRecorder()
				r.http.ServeHTTP(w, request(t, "POST", "/desk/Work", `{"Time":60000000000}`, "Idempotency-Key", "w").WithContext(ctx))
				left <- w
			}()
			synctest.Wait()
			if running == httpapi.Conflict {
				want(t, "while it runs", r.do(t, "POST", "/desk/Work", `{"Time":60000000000}`, "Idempotency-Key", "w"), 409, "", "Tandem-Ran", "unknown")
			}
			go r.do(t, "POST", "/desk/Owned", `{}`)
			synctest.Wait()
			want(t, "beyond MaxRequests", r.do(t, "POST", "/desk/Owned", `{}`), 429, "", "Retry-After", "1", "Tandem-Ran", "no")
			leave()
			want(t, "who has left", <-left, 504, "")
			synctest.Wait()
			want(t, "and the handler has ended", r.do(t, "POST", "/desk/Owned", `{}`), 200, "0")
		})
	}
	withRig(t, httpapi.Config{}, func(t *testing.T, r rig) {
		answers := make(chan string, 2)
		for range 2 {
			go func() {
				w := r.do(t, "POST", "/desk/Work", `{"Time":1000000000}`, "Idempotency-Key", "w")
				answers <- w.Body.String() + w.Header().Get("Tandem-Replayed")
			}()
		}
		if a, b := <-answers, <-answers; !strings.HasPrefix(a, `"anonymous"`) || !strings.HasPrefix(b, `"anonymous"`) {
			t.Errorf("two at once: %s, %s", a, b)
		}
	})
	withRig(t, httpapi.Config{RequireKey: true}, func(t *testing.T, r rig) {
		want(t, "without a key", r.do(t, "POST", "/desk/Deposit", `{"Amount":1}`), 400, "", "Tandem-Ran", "no")
		want(t, "a read", r.do(t, "POST", "/desk/Owned", `{}`), 200, "0")
		want(t, "one-way", r.do(t, "POST", "/desk/Note", `{}`), 202, "")
		want(t, "with a key", r.do(t, "POST", "/desk/Deposit", `{"Amount":1}`, "Idempotency-Key", "k"), 200, "1")
	})
	withRig(t, httpapi.Config{}, func(t *testing.T, r rig) {
		if err := r.sys.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, "after the end", r.do(t, "POST", "/desk/Owned", `{}`), 503, "", "Tandem-Ran", "no", "Retry-After", "1")
	})
}

// The document describes all that is open, and is valid.
func TestOpenAPI(t *testing.T) {
	withRig(t, httpapi.Config{Docs: true}, func(t *testing.T, r rig) {
		w := r.do(t, "GET", "/-/openapi.json", "")
		want(t, "openapi", w, 200, "", "Content-Type", "application/json")
		var doc struct {
			OpenAPI string
			Paths   map[string]map[string]struct {
				OperationID string
				Parameters  []struct{ Name, In string }
				RequestBody struct {
					Content map[string]struct {
						Schema struct {
							Type       string
							Properties map[string]struct{ Type string }
							Required   []string
						}
					}
				}
				Responses map[string]any
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		if doc.OpenAPI != "3.1.0" || len(doc.Paths) != 12 {
			t.Errorf("version %s, %d paths", doc.OpenAPI, len(doc.Paths))
		}
		op := doc.Paths["/account/{id}/Deposit"]["post"]
		s := op.RequestBody.Content["application/json"].Schema
		if s.Type != "object" || s.Properties["Amount"].Type != "integer" || len(s.Properties) != 1 || len(s.Required) > 0 || len(op.Parameters) != 3 {
			t.Errorf("%+v", op)
		}
		for path, ops := range doc.Paths {
			if _, read := ops["get"]; read != (strings.HasSuffix(path, "Owned") || strings.HasSuffix(path, "Count")) || ops["post"].OperationID == "" {
				t.Errorf("%s: %+v", path, ops)
			}
		}
		page := r.do(t, "GET", "/-/docs", "")
		want(t, "the page", page, 200, "", "Content-Type", "text/html; charset=utf-8", "Referrer-Policy", "no-referrer")
		policy := page.Header().Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, part) || strings.Contains(policy, "unsafe") {
				t.Errorf("the page's policy is %s, want %s in it", policy, part)
			}
		}
	})
}
