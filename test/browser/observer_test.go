package browser

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/observer"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/oncall"
)

func TestMain(m *testing.M) { oncall.Main(m) }

const token = "the token of the test"

// onCall is how long whoever is on call may have to wait until the page shows that something is wrong.
const onCall = 5 * time.Second

// observe opens the page about a cluster, and logs in.
func observe(t *testing.T, c *oncall.Cluster) *page {
	t.Helper()
	h, err := observer.New(admin.Of(c.Desk), observer.Config{OperatorToken: token, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/observer/", http.StripPrefix("/observer", h))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	t.Cleanup(h.Close)
	p := openAt(t, srv.URL+"/observer/", "input[name=token]")
	p.do(chromedp.EmulateViewport(1280, 820))
	p.fill("token", token)
	p.do(chromedp.KeyEvent("\r"))
	p.shows(10*time.Second, "svg.map")
	return p
}

// shows waits until the page has an element, with all the texts in it.
func (p *page) shows(within time.Duration, selector string, texts ...string) {
	p.t.Helper()
	test := fmt.Sprintf(`[...document.querySelectorAll(%s)].some(e => %s)`, js(selector), contains(texts))
	if _, err := chromedp.Run(p.ctx, chromedp.Poll[bool](test, chromedp.WithPollingTimeout(within))); err != nil {
		p.t.Fatalf("after %v the page shows no %s with %q: %v\n%s", within, selector, texts, err, eval[string](p, `document.querySelector("main").innerText`))
	}
}

func contains(texts []string) string {
	all := "true"
	for _, t := range texts {
		all += fmt.Sprintf(` && e.textContent.includes(%s)`, js(t))
	}
	return all
}

// visit goes to a view.
func (p *page) visit(hash string) {
	p.t.Helper()
	eval[string](p, fmt.Sprintf(`location.hash = %s`, js(hash)))
}

// press presses the button with that text, and says yes to what is asked.
func (p *page) press(text string) {
	p.t.Helper()
	if !eval[bool](p, fmt.Sprintf(`(b => { window.confirm = () => true; b?.click(); return !!b })([...document.querySelectorAll("button")].find(b => b.textContent === %s))`, js(text))) {
		p.t.Fatalf("there is no button %q", text)
	}
}

// shot keeps a picture of the page, if $SCREENSHOTS names a folder for that.
func (p *page) shot(name string) {
	p.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// Whoever is on call sees within 5 s that a road is cut, a queue is poisoned and a node is dead, and can do something about it.
func TestOnCall(t *testing.T) {
	c := oncall.Start(t, "b", "c")
	c.Load()
	p := observe(t, c)
	p.shows(onCall, "svg.map text", "desk")
	p.shows(onCall, "svg.map text", "c")
	p.shows(onCall, "svg.map title", "desk to b: tcp of nats, tcp")
	if n := eval[int](p, `document.querySelectorAll(".alerts li").length`); n != 0 {
		t.Errorf("%d alerts although nothing is wrong: %s", n, eval[string](p, `document.querySelector(".alerts").innerText`))
	}
	p.shot("topology")

	c.Gates["b"].Set(true)
	p.shows(onCall, ".alerts li", "desk reaches b over nats only: tcp is gone")
	p.shows(onCall, "svg.map title", "desk to b: nats of nats")
	p.shot("road-cut")
	c.Gates["b"].Set(false)

	q := c.Desk.Ref("parcels@b")
	for i := range 3 {
		if err := actor.Push(t.Context(), q, oncall.Parcel{Text: fmt.Sprint("poison ", i)}); err != nil {
			t.Fatal(err)
		}
	}
	ds, err := actor.Pull[oncall.Parcel](t.Context(), q, actor.Max(3))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		if err := d.Nack(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	p.shows(onCall, ".alerts li", "queue parcels@b has 3 dead items")
	p.visit("#/queues")
	p.shows(onCall, "td", "parcels@b")
	p.visit("#/queue?name=parcels&node=b")
	p.shows(onCall, "td", "nacked")
	p.shot("queue")
	p.press("Revive all that are shown")
	p.shows(onCall, ".said", "revive: 3 items")
	p.visit("#/topology")
	p.gone(onCall, ".alerts li", "queue parcels@b")

	c.Kill("c")
	p.shows(onCall, ".alerts li.severe", "node c does not answer")
	p.shot("node-killed")
	p.visit("#/nodes")
	p.shows(onCall, "tr", "c", "away for")
	c.Start("c")
	c.Await("c")
	p.gone(20*time.Second, ".alerts li", "node c")
}

// gone waits until the page has no such element any more.
func (p *page) gone(within time.Duration, selector string, texts ...string) {
	p.t.Helper()
	test := fmt.Sprintf(`![...document.querySelectorAll(%s)].some(e => %s)`, js(selector), contains(texts))
	if _, err := chromedp.Run(p.ctx, chromedp.Poll[bool](test, chromedp.WithPollingTimeout(within))); err != nil {
		p.t.Fatalf("after %v the page still shows %s with %q: %v", within, selector, texts, err)
	}
}

// A request whose answer was lost on a road that was cut, and that was answered from its record on the other road, is shown with all
// its copies.
func TestWaterfall(t *testing.T) {
	c := oncall.Start(t, "b")
	p := observe(t, c)
	ref := c.Desk.Ref("greeter-b@b")
	done := make(chan error, 1)
	var report rpc.Report
	go func() {
		_, err := actor.Call(t.Context(), ref, oncall.Linger{For: time.Minute}, rpc.Key("the order 17"), rpc.ReportTo(&report))
		done <- err
	}()
	p.visit("#/actor?name=greeter-b&node=b")
	p.shows(onCall, "dd", "Linger, for")
	p.shot("actor")
	c.Gates["b"].Set(true)
	p.shows(onCall, "td", "the order 17")
	if _, err := actor.Call(t.Context(), c.Desk.Ref("releaser-b@b"), oncall.Release{}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := actor.Call(t.Context(), ref, oncall.Linger{For: time.Minute}, rpc.Key("the order 17"), rpc.ReportTo(&report)); err != nil || !report.Replayed {
		t.Fatalf("%v, %+v", err, report)
	}
	p.visit("#/why?id=the%20order%2017")
	p.shows(onCall, ".step", "sent again", "nats")
	p.shows(onCall, ".step", "started")
	p.shows(onCall, ".step", "decided")
	p.shows(onCall, ".step", "answered again")
	p.shot("waterfall")
	p.visit("#/requests")
	p.shows(onCall, "td", "the order 17")
	p.shot("requests")
}

// Dead letters are listed by what they are, and all that match are sent again.
func TestDeadLetters(t *testing.T) {
	c := oncall.Start(t, "b")
	p := observe(t, c)
	for i := range 5 {
		_ = actor.Tell(t.Context(), c.Desk.Ref(fmt.Sprintf("late-%d@b", i%2)), oncall.Parcel{Text: "secret"})
	}
	p.visit("#/letters?node=b")
	for until := time.Now().Add(onCall); ; { // the view is not live: it is a list to work on
		if n := eval[int](p, `document.querySelectorAll("tbody tr").length`); n == 5 {
			break
		} else if time.Now().After(until) {
			t.Fatalf("%d letters", n)
		}
		p.visit("#/events")
		p.visit("#/letters?node=b")
		time.Sleep(100 * time.Millisecond) // between two looks
	}
	p.shot("dead-letters")
	if text := eval[string](p, `document.body.textContent`); strings.Contains(text, "secret") {
		t.Error("the page shows what a message says")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := admin.Ask(ctx, admin.Of(c.Desk), "b", admin.Node{}); err != nil {
		t.Fatal(err)
	}
	p.visit("#/letters?node=b&actor=late-1@b")
	p.shows(onCall, "tbody tr:nth-of-type(2)", "late-1@b")
	p.press("Discard all that match")
	p.shows(onCall, ".said", "b: 2")
	p.visit("#/letters?node=b")
	p.shows(onCall, "tbody tr:nth-of-type(3)", "late-0@b")
}

// No name of an actor and no text of an error is script in the page, in whatever view.
func TestObserverRunsNoScriptOfOthers(t *testing.T) {
	c := oncall.Start(t)
	p := observe(t, c)
	if _, err := c.Desk.Spawn(strings.ReplaceAll(evilName, "/", "-"), oncall.GreeterKind, actor.Expose("evil")); err != nil {
		t.Log("an actor cannot have that name: ", err)
	}
	_ = actor.Tell(t.Context(), c.Desk.Ref(evilName+"@desk"), oncall.Parcel{Text: evil})
	_, _ = actor.Call(t.Context(), c.Desk.Ref("nobody@desk"), oncall.Greet{Name: evil}, rpc.Key(evil))
	c.Desk.Raise(rpc.EventType(evil), rpc.NewError("evil", evil))
	for _, view := range []string{"topology", "nodes", "services", "actors?by=name", "requests?only=all", "queues", "jobs", "letters", "topics", "events", "settings", "node?name=desk", "why?id=" + "%3Cimg%20src%3Dx%20onerror%3Dwindow.hurt%3D1%3E", "actor?node=desk&name=%3Cimg%20src%3Dx%20onerror%3Dhurt%3D1%3E"} {
		p.visit("#/" + view)
		p.shows(onCall, "h1, .said")
		if n := eval[int](p, `document.querySelectorAll("main img, main script, main iframe").length`); n != 0 {
			t.Errorf("%s: %d elements are made of what others have written", view, n)
		}
		p.unhurt()
	}
	p.visit("#/events")
	p.shows(onCall, "td", "onerror")
}

// The page can be used with the keyboard alone, and on a narrow screen nothing is wider than that.
func TestKeysAndNarrowScreens(t *testing.T) {
	c := oncall.Start(t)
	p := observe(t, c)
	p.do(chromedp.KeyEvent("gq"))
	p.shows(onCall, "h1", "Queues")
	p.do(chromedp.KeyEvent("ga"))
	p.shows(onCall, "h1", "Actors")
	p.do(chromedp.EmulateViewport(360, 740))
	for _, view := range []string{"topology", "nodes", "actors", "requests", "queues", "letters", "settings"} {
		p.visit("#/" + view)
		p.shows(onCall, "h1")
		if wide := eval[int](p, `document.documentElement.scrollWidth`); wide > 360 {
			t.Errorf("%s is %d wide on a screen of 360", view, wide)
		}
	}
	p.shot("narrow")
}
