package observer_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/observer"
)

const (
	readToken    = "sixteen letters!"
	operateToken = "seventeen letters"
)

// site is a page about one node, and a client that keeps cookies.
type site struct {
	t    *testing.T
	sys  *actor.System
	page *observer.Handler
	url  string
	http.Client
}

func newSite(t *testing.T, cfg observer.Config) *site {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	sys, err := actor.NewSystem(actor.Config{Name: "a", Logger: cfg.Logger, Setup: func(sys *actor.System) error { return admin.Open(sys, admin.Config{Logger: cfg.Logger}) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
	page, err := observer.New(admin.Of(sys), cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/observer/", http.StripPrefix("/observer", page))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	t.Cleanup(page.Close) // before the server, which waits for live pages
	s := &site{t: t, sys: sys, page: page, url: srv.URL + "/observer/"}
	s.Jar, _ = cookiejar.New(nil)
	return s
}

// do sends a request, and returns the status and the body of the answer.
func (s *site) do(method, path, body string, headers ...string) (int, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	a, err := s.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, want := range map[string]string{"Content-Security-Policy": "script-src 'self'", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
		if !strings.Contains(a.Header.Get(name), want) && !(name == "Cache-Control" && a.StatusCode == 404) { // net/http takes it from errors of its own
			s.t.Errorf("%s %s: %s is %q", method, path, name, a.Header.Get(name))
		}
	}
	return a.StatusCode, string(text)
}

func (s *site) login(token string) int {
	s.t.Helper()
	body, _ := json.Marshal(map[string]string{"Token": token})
	status, _ := s.do("POST", "login", string(body))
	return status
}

// want checks the status of each answer.
func (s *site) want(status int, method, path, body string, headers ...string) string {
	s.t.Helper()
	got, text := s.do(method, path, body, headers...)
	if got != status {
		s.t.Errorf("%s %s: %d %s, want %d", method, path, got, text, status)
	}
	return text
}

// Nobody sees anything without a token, who has one sees, and who has the operator's changes things.
func TestTokens(t *testing.T) {
	s := newSite(t, observer.Config{Token: readToken, OperatorToken: operateToken})
	s.want(200, "GET", "", "")
	s.want(401, "POST", "ask/Node", "{}")
	s.want(401, "POST", "all/Node", "{}")
	s.want(401, "GET", "live", "")
	if got := s.login("sixteen letters?"); got != 401 {
		t.Errorf("a wrong token: %d", got)
	}
	s.want(401, "POST", "ask/Node", "{}")
	if got := s.login(readToken); got != 200 {
		t.Fatalf("the token: %d", got)
	}
	if me := s.want(200, "GET", "me", ""); !strings.Contains(me, `"in":true`) || !strings.Contains(me, `"operate":false`) {
		t.Error(me)
	}
	s.want(200, "POST", "ask/Node", "{}")
	s.want(403, "POST", "ask/DiscardLetters", "{}")
	s.want(403, "POST", "ask/QueueItems", `{"Queue": "x", "Content": true}`)
	s.want(403, "POST", "ask/QueueItems", `{"queue": "x", "content": true}`)
	s.login(operateToken)
	s.want(200, "POST", "ask/DiscardLetters", "{}")
	s.want(204, "POST", "logout", "")
	s.want(401, "POST", "ask/Node", "{}")
}

// Another page cannot have a browser change anything, and its cookie is neither sent there nor read by scripts.
func TestOtherPages(t *testing.T) {
	s := newSite(t, observer.Config{OperatorToken: operateToken})
	body, _ := json.Marshal(map[string]string{"Token": operateToken})
	r, err := s.Post(s.url+"login", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if c := r.Header.Get("Set-Cookie"); !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Strict") {
		t.Error(c)
	}
	s.want(403, "POST", "ask/DiscardLetters", "{}", "Sec-Fetch-Site", "cross-site")
	s.want(403, "POST", "ask/DiscardLetters", "{}", "Origin", "https://example.org")
	s.want(200, "POST", "ask/DiscardLetters", "{}", "Sec-Fetch-Site", "same-origin")
}

// Wrong tokens are slowed down, of whatever clients.
func TestGuesses(t *testing.T) {
	s := newSite(t, observer.Config{Token: readToken})
	got := map[int]int{}
	for i := range 12 {
		got[s.login(fmt.Sprint("not the token ", i))]++
	}
	if got[401] < 5 || got[429] < 5 {
		t.Errorf("%v", got)
	}
	if status := s.login(readToken); status != 200 {
		t.Errorf("the token itself: %d", status)
	}
}

// What is asked badly is refused.
func TestBadQuestions(t *testing.T) {
	s := newSite(t, observer.Config{Everybody: true})
	s.want(404, "POST", "ask/Nonsense", "{}")
	s.want(400, "POST", "ask/Actors", "{")
	s.want(400, "POST", "ask/Actors", `{"By": "luck"}`)
	s.want(413, "POST", "ask/Actors", `{"Prefix": "`+strings.Repeat("x", 64<<10)+`"}`)
	s.want(403, "POST", "all/StopActor", "{}")
	s.want(404, "POST", "ask/Actor", `{"Name": "none"}`)
	s.want(404, "GET", "ask/Node", "")
	s.want(404, "GET", "..%2fobserver.go", "")
	if text := s.want(200, "POST", "all/Node", ""); !strings.Contains(text, `"Node":"a"`) {
		t.Error(text)
	}
}

// A Config by which nobody may look, or by which anybody can guess, is refused.
func TestBadConfig(t *testing.T) {
	for _, cfg := range []observer.Config{{}, {Token: "short"}, {Token: readToken, OperatorToken: "short"}} {
		if _, err := observer.New(admin.Through(nil), cfg); err == nil {
			t.Errorf("%+v", cfg)
		}
	}
	if _, err := observer.New(nil, observer.Config{Everybody: true}); err == nil {
		t.Error("no cluster")
	}
}

// A live page gets a picture at once, and further ones, until it or the handler is closed.
func TestLive(t *testing.T) {
	s := newSite(t, observer.Config{Everybody: true, Tick: 10 * time.Millisecond})
	r, err := s.Get(s.url + "live")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	for range 3 {
		for lines.Scan() && lines.Text() == "" {
		}
		var p struct {
			Nodes []struct {
				Name, Away string
				Actors     int
			}
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(lines.Text(), "data: ")), &p); err != nil || len(p.Nodes) != 1 || p.Nodes[0].Name != "a" || p.Nodes[0].Away != "" || p.Nodes[0].Actors == 0 {
			t.Fatalf("%v %s", err, lines.Text())
		}
	}
	s.page.Close()
	for lines.Scan() {
	}
	s.want(503, "GET", "live", "")
}
