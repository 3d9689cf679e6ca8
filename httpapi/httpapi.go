// Package httpapi opens actors to HTTP clients: an http.Handler over the targets of a gateway.Table.
//
//	table, err := gateway.New(sys, gateway.Virtual("account", Account))
//	handler, err := httpapi.New(table, httpapi.Config{Principal: whoIs})
//	http.ListenAndServe(addr, handler)
//
//	curl -X POST http://host/account/ann/Deposit -H 'Idempotency-Key: "5f0a"' --json '{"Amount": 5}'
//
// # Requests
//
//	POST /{target}/{Message}          to an actor or a service
//	POST /{target}/{id}/{Message}     to a virtual actor
//
// The body is JSON, of content type application/json, and so is the answer: 200 with the reply, or 202 without a body for a
// one-way message that is in the actor's mailbox. The header Request-Timeout says for how many seconds the client waits;
// when they are over, or when the client is gone, the request ends and its handler's context too. Traceparent is passed on.
//
// The header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07) is rpc.Key: under one key, of one principal, to
// one actor, a request runs once, through whatever gateway it comes, and what comes later gets the recorded answer, marked
// with Tandem-Replayed: true. Config.RequireKey and Config.Running say what else the draft leaves open. Another body under
// the key is 422.
//
// Prefer: respond-async (RFC 7240, §4.1) submits a message as a job: 202, and Location is where GET fetches the result, with
// Prefer: wait=20 after up to 20 seconds, and DELETE cancels it. It is 200 in each state; the body says which.
//
// A message that is answered with a stream is answered with Server-Sent Events: each item is the data of an event; the last
// event is "end" or "error". Browsers get it by GET with ?body={...}, as they can get any message whose handler only reads
// (actor.Read).
//
// # Errors
//
// Every answer says in Tandem-Ran whether the request ran: yes, no or unknown. Errors are problem details (RFC 9457) with
// the members code, ran, user (the name of the application's own error) and retryAfter:
//
//	400 invalid, undecodable             422 failed with an error of the application's own, id reused (another body under a key)
//	401 Config.Principal returned an error   429 overloaded, with Retry-After
//	403 denied                           500 failed, panicked, internal, wrong reply, reply dropped, and undecodable that ran
//	404 not found, unhandled             502 outcome unknown
//	405, 406, 415 as HTTP says           503 unavailable, leaving, session lost, stale, moved, with Retry-After
//	409 a request under the key runs     504 expired, canceled
//	413 too large                        508 cycle
//
// # Limits
//
// Config has a limit with a default for whatever a client can take. There are no CORS headers, so a page of another origin
// cannot call: an answer to it would not be readable, and a body of type application/json is not sent without asking. For
// TLS, and for clients that send slowly, the http.Server has to care. Nobody is authenticated unless Config.Principal does.
package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/rpc"
)

// Running says what becomes of a request whose key belongs to one that still runs.
type Running uint8

// The choices.
const (
	Wait     Running = iota // it waits for the outcome, and gets it
	Conflict                // it is refused as 409, if the other one came to this handler
)

// Config says how a handler works. Its zero value is the documented default.
type Config struct {
	// Principal says who the client is, as access rules name it; it is called concurrently. An error is answered with 401, and
	// not shown. Nil: everybody is gateway.Anonymous.
	Principal func(*http.Request) (string, error)

	RequireKey bool    // requests need a key, except those that only read or open a stream, one-way messages, and targets that take none
	Running    Running // for a request whose key belongs to one that still runs

	MaxBody     int64         // bytes of a request's body. Default 1 MiB
	MaxTimeout  time.Duration // longest Request-Timeout; a longer one counts as this. Default 1 min
	MaxWait     time.Duration // how long a GET of a job may wait. Default 30 s
	MaxRequests int           // requests that may be open, streams among them; more are refused as 429. Default 4,096

	// Docs opens /-/openapi.json, an OpenAPI 3.1 document of all that is open, and /-/docs, a page to try it, to everybody who
	// can reach the handler. The page runs no script but its own, whatever actors answer.
	Docs bool
}

func (c Config) withDefaults() Config {
	if c.Principal == nil {
		c.Principal = func(*http.Request) (string, error) { return gateway.Anonymous, nil }
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 1 << 20
	}
	if c.MaxTimeout <= 0 {
		c.MaxTimeout = time.Minute
	}
	if c.MaxWait <= 0 {
		c.MaxWait = 30 * time.Second
	}
	if c.MaxRequests <= 0 {
		c.MaxRequests = 4096
	}
	return c
}

// handler serves a table. It is immutable but for running.
type handler struct {
	cfg     Config
	table   *gateway.Table
	mux     *http.ServeMux
	slots   chan struct{} // holds one for each open request
	running running

	nosniff, noStore, ran, json []string // values of headers that all answers share
}

// New returns the handler for a table. The error says which target's name it needs itself, or which type has no schema.
func New(table *gateway.Table, cfg Config) (http.Handler, error) {
	h := &handler{cfg: cfg.withDefaults(), table: table, mux: http.NewServeMux(),
		nosniff: []string{"nosniff"}, noStore: []string{"no-store"}, ran: []string{gateway.Ran(rpc.HasRun)}, json: []string{"application/json"}}
	h.slots = make(chan struct{}, h.cfg.MaxRequests)
	for _, e := range table.Endpoints() {
		if e.Target == own {
			return nil, errors.New(`httpapi: a target cannot have the name "-"`)
		}
	}
	post := func(w http.ResponseWriter, r *http.Request) { h.post(w, r, pathOf(r)) }
	h.mux.HandleFunc("POST /{target}/{message}", post)
	h.mux.HandleFunc("POST /{target}/{id}/{message}", post)
	h.mux.HandleFunc("GET /{target}/{message}", h.get)
	h.mux.HandleFunc("GET /{target}/{id}/{message}", h.get)
	h.mux.HandleFunc("GET "+jobs+"{token}", h.job)
	h.mux.HandleFunc("DELETE "+jobs+"{token}", h.cancel)
	if h.cfg.Docs {
		doc, err := openAPI(table)
		if err != nil {
			return nil, err
		}
		h.mux.HandleFunc("GET /-/openapi.json", serve("application/json", doc))
		h.mux.HandleFunc("GET /-/docs", serveDocs())
	}
	h.mux.HandleFunc("/", h.nothing)
	return h, nil
}

const (
	own  = "-" // the first part of the paths that are no target's
	jobs = "/" + own + "/jobs/"
)

func serve(contentType string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(body)
	}
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header["X-Content-Type-Options"], header["Cache-Control"] = h.nosniff, h.noStore
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
		if at, ok := plainPath(r); ok {
			h.post(w, r, at)
			return
		}
		h.mux.ServeHTTP(w, r)
	default:
		fail(w, &rpc.Error{Code: rpc.Overloaded, Verdict: rpc.NotRun, Message: "too many requests are open", RetryAfter: time.Second})
	}
}

// nothing answers what has no path, or another method than the path's.
func (h *handler) nothing(w http.ResponseWriter, r *http.Request) {
	parts := strings.Count(strings.Trim(r.URL.Path, "/"), "/")
	if (parts == 1 || parts == 2) && r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		problem{Status: http.StatusMethodNotAllowed, Code: "invalid", Ran: gateway.Ran(rpc.NotRun), Detail: "the method must be POST"}.write(w)
		return
	}
	fail(w, rpc.Errorf(rpc.NotFound, rpc.NotRun, "there is nothing at this path"))
}

// asked is a request that is known to be one of a client that may ask.
type asked struct {
	gateway.Call
	gateway.Request
	ctx  context.Context
	done context.CancelFunc
}

// ask reads what a request has beside its body. It has written the answer if the result is nil.
func (h *handler) ask(w http.ResponseWriter, r *http.Request, at path) *asked {
	principal, ok := h.principal(w, r)
	if !ok {
		return nil
	}
	call, err := h.table.Find(at.target, at.id, at.message)
	if err != nil {
		fail(w, err)
		return nil
	}
	a := &asked{Call: call, Request: gateway.Request{Principal: principal}, ctx: r.Context(), done: func() {}}
	if trace := gateway.ParseTrace(r.Header.Get(gateway.HeaderTrace)); !trace.IsZero() {
		a.ctx = rpc.WithTrace(a.ctx, trace)
	}
	if text := r.Header.Get(gateway.HeaderTimeout); text != "" {
		timeout, err := gateway.ParseTimeout(text, h.cfg.MaxTimeout)
		if err != nil {
			fail(w, err)
			return nil
		}
		a.ctx, a.done = context.WithTimeout(a.ctx, timeout)
	}
	return a
}

// principal returns who the client is. It has written the answer if nobody knows.
func (h *handler) principal(w http.ResponseWriter, r *http.Request) (string, bool) {
	principal, err := h.cfg.Principal(r)
	if err != nil || principal == "" || len(principal) > gateway.MaxKey {
		problem{Status: http.StatusUnauthorized, Code: gateway.CodeName(rpc.Denied), Ran: gateway.Ran(rpc.NotRun), Detail: "the client is not known"}.write(w)
		return "", false
	}
	return principal, true
}

// post serves a message.
func (h *handler) post(w http.ResponseWriter, r *http.Request, at path) {
	a := h.ask(w, r, at)
	if a == nil {
		return
	}
	defer a.done()
	if !h.readBody(w, r, a) {
		return
	}
	key, err := gateway.ParseKey(r.Header.Values(gateway.HeaderKey))
	switch {
	case err != nil:
		fail(w, err)
		return
	case key == "" && h.cfg.RequireKey && a.Keys && !a.Message.Reads:
		fail(w, rpc.Errorf(rpc.Invalid, rpc.NotRun, "the request needs the header %s", gateway.HeaderKey))
		return
	}
	a.Key = key
	h.answer(w, r, a)
}

// get serves a message that changes nothing, or that is answered with a stream.
func (h *handler) get(w http.ResponseWriter, r *http.Request) {
	a := h.ask(w, r, pathOf(r))
	if a == nil {
		return
	}
	defer a.done()
	if !a.Message.Reads && a.Message.Items == nil {
		w.Header().Set("Allow", "POST")
		problem{Status: http.StatusMethodNotAllowed, Code: "invalid", Ran: gateway.Ran(rpc.NotRun), Detail: a.Name + " may change something, so its method is POST"}.write(w)
		return
	}
	a.Body = []byte(r.URL.Query().Get("body"))
	h.answer(w, r, a)
}

// answer carries the request out.
func (h *handler) answer(w http.ResponseWriter, r *http.Request, a *asked) {
	_, async := gateway.Preference(r.Header.Values("Prefer"), "respond-async")
	switch {
	case a.Message.Items != nil:
		if !accepts(r.Header, "text/event-stream") {
			problem{Status: http.StatusNotAcceptable, Code: "invalid", Ran: gateway.Ran(rpc.NotRun), Detail: a.Name + " is answered with text/event-stream"}.write(w)
			return
		}
		h.stream(w, a)
		return
	case !accepts(r.Header, "application/json"):
		problem{Status: http.StatusNotAcceptable, Code: "invalid", Ran: gateway.Ran(rpc.NotRun), Detail: "answers are application/json"}.write(w)
		return
	case async && a.Message.Reply != nil:
		h.submit(w, r, a)
		return
	}
	if a.Key != "" && h.cfg.Running == Conflict {
		leave, free := h.running.enter(a.Principal, r.URL.Path, a.Key)
		if !free {
			problem{Status: http.StatusConflict, Code: "id-reused", Ran: gateway.Ran(rpc.Unknown), Detail: "a request under this key runs"}.write(w)
			return
		}
		defer leave()
	}
	answer, err := a.Do(a.ctx, a.Request)
	if answer.Replayed {
		w.Header().Set(gateway.HeaderReplayed, "true")
	}
	if err != nil {
		fail(w, err)
		return
	}
	if a.Message.Reply == nil { // it is in the mailbox, and nobody knows yet whether its handler runs
		w.Header().Set(gateway.HeaderRan, gateway.Ran(rpc.Unknown))
		w.WriteHeader(http.StatusAccepted)
		return
	}
	header := w.Header()
	header[gateway.HeaderRan], header["Content-Type"] = h.ran, h.json
	_, _ = w.Write(answer.Body)
}

// readBody reads the body. It has written the answer if the result is false.
func (h *handler) readBody(w http.ResponseWriter, r *http.Request, a *asked) bool {
	if r.ContentLength == 0 && r.Header.Get("Content-Type") == "" {
		return true
	}
	if !isJSON(r.Header.Get("Content-Type")) || r.Header.Get("Content-Encoding") != "" {
		problem{Status: http.StatusUnsupportedMediaType, Code: "invalid", Ran: gateway.Ran(rpc.NotRun), Detail: "the body must be application/json, without a content encoding"}.write(w)
		return false
	}
	body, err := h.read(w, r)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		fail(w, rpc.Errorf(rpc.TooLarge, rpc.NotRun, "the body is over %d bytes", h.cfg.MaxBody))
		return false
	case err != nil:
		fail(w, rpc.Errorf(rpc.Canceled, rpc.NotRun, "the body did not come"))
		return false
	}
	a.Body = body
	return true
}

// smallBody is how many bytes a body may announce for which memory is taken before they have come.
const smallBody = 4 << 10

// read reads a body of at most MaxBody bytes.
func (h *handler) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if n := r.ContentLength; n > 0 && n <= min(smallBody, h.cfg.MaxBody) {
		body := make([]byte, n)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	return io.ReadAll(http.MaxBytesReader(w, r.Body, h.cfg.MaxBody))
}
