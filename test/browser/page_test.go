package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/httpapi"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state/memory"
)

// evil is text that runs script in a page that takes it for HTML.
const evil = `</pre></script><script>window.hurt="script"</script><img src=x onerror="window.hurt='image'">`

// evilName is such a name of a message; it has no "." and no "/", after which a gateway would begin it.
const evilName = `<img src=x onerror=hurt=1>`

type (
	deposit struct {
		actor.Returns[int]
		Amount int `jsonschema:"</script><img src=x onerror=window.hurt='description'>"`
	}
	hostile struct {
		actor.Returns[string]
		Text string
		Bad  string `json:"<img src=x onerror=window.hurt=1>"`
	}
	failing struct{ actor.Returns[string] }
)

func (deposit) WireName() string { return "bank.Deposit" }
func (hostile) WireName() string { return "bank." + evilName }
func (failing) WireName() string { return "bank.Failing" }

var errEvil = rpc.NewError("bank.evil", evil)

type account struct{ Sum int }

func (a *account) deposit(_ *actor.Context, m deposit) (int, error) {
	a.Sum += m.Amount
	return a.Sum, nil
}
func (a *account) hostile(*actor.Context, hostile) (string, error) { return evil, nil }
func (a *account) failing(*actor.Context, failing) (string, error) { return "", errEvil }

// served is a gateway with the page, and what it was asked for.
func served(t *testing.T) *httptest.Server {
	kind := actor.Define("account", func() *account { return new(account) }, actor.Answer((*account).deposit), actor.Answer((*account).hostile), actor.Answer((*account).failing)).
		With(actor.Virtual(), actor.Stored(func(a *account) *account { return a }))
	sys, err := actor.NewSystem(actor.Config{Name: "bank", Kinds: []*actor.Kind{kind}, States: memory.New(memory.Config{}), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
	table, err := gateway.New(sys, gateway.Virtual("account", kind))
	if err != nil {
		t.Fatal(err)
	}
	handler, err := httpapi.New(table, httpapi.Config{Docs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return srv
}

// page is the documentation page in a browser.
type page struct {
	t   *testing.T
	ctx context.Context

	mu    sync.Mutex // guards what follows
	hosts []string   // that the browser has sent requests to, or wanted to
}

// open opens the page in a browser of its own, which ends with the test. $CHROMIUM says where the browser is; else it is found
// as chromedp does.
func open(t *testing.T, url string) *page { return openAt(t, url, "details") }

// openAt is open for a page that is ready when it has such an element.
func openAt(t *testing.T, url, ready string) *page {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox) // the sandbox of Chromium does not work for root, as which CI runs
	if at := os.Getenv("CHROMIUM"); at != "" {
		options = append(options, chromedp.ExecPath(at))
	}
	ctx, end := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(end)
	ctx, end = chromedp.NewContext(ctx)
	t.Cleanup(end)
	ctx, end = context.WithTimeout(ctx, 40*time.Second)
	t.Cleanup(end)
	p := &page{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, p.note); err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.Navigate(url), chromedp.WaitReady(chromedp.CSS(ready)))
	return p
}

// note writes down the hosts of requests.
func (p *page) note(event any) {
	if e, ok := event.(*network.EventRequestWillBeSent); ok {
		at, err := url.Parse(e.Request.URL)
		if err != nil {
			p.t.Error(err)
			return
		}
		p.mu.Lock()
		p.hosts = append(p.hosts, at.Host)
		p.mu.Unlock()
	}
}

func (p *page) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// eval returns the value of an expression in the page.
func eval[T any](p *page, js string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// fill types into the field of that name, in place of what is there.
func (p *page) fill(name, text string) {
	p.t.Helper()
	if !eval[bool](p, fmt.Sprintf(`(e => { e?.focus(); e?.select(); return !!e })(document.getElementsByName(%s)[0])`, js(name))) {
		p.t.Fatalf("there is no field %s", name)
	}
	p.do(chromedp.KeyEvent(text))
}

// send presses the button of a message, and returns what the page then shows, when that has all of want.
func (p *page) send(name string, want ...string) string {
	p.t.Helper()
	out := fmt.Sprintf(`document.getElementById(%s).textContent`, js(name+" out"))
	done := out
	for _, w := range want {
		done += fmt.Sprintf(` && %s.includes(%s)`, out, js(w))
	}
	eval[bool](p, fmt.Sprintf(`(e => { e.scrollIntoView(); e.dataset.now = "" ; return true })(document.getElementsByName(%s)[0])`, js(name+" send")))
	p.do(chromedp.Click(chromedp.CSS(`[data-now]`)))
	eval[bool](p, `delete document.querySelector("[data-now]").dataset.now`)
	if _, err := chromedp.Run(p.ctx, chromedp.Poll[bool]("!!("+done+")", chromedp.WithPollingTimeout(20*time.Second))); err != nil {
		p.t.Fatalf("%s shows %q, want %q: %v", name, eval[string](p, out), want, err)
	}
	return eval[string](p, out)
}

// unfold opens the form of a message, by its place in the page.
func (p *page) unfold(place int) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(fmt.Sprintf(`details:nth-of-type(%d) summary`, place))))
}

// js is a text as JavaScript writes it.
func js(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Somebody who opens the page sees what is open, sends a message, and sees what became of it: also the second time under one
// key, and if it was wrong.
func TestPage(t *testing.T) {
	srv := served(t)
	p := open(t, srv.URL+"/-/docs")
	listed := eval[[]string](p, `[...document.querySelectorAll("summary")].map(s => s.textContent)`)
	slices.Sort(listed)
	if want := []string{"POST /account/{id}/" + evilName, "POST /account/{id}/Deposit", "POST /account/{id}/Failing"}; !slices.Equal(listed, want) {
		t.Fatalf("the page lists %q, want %q", listed, want)
	}
	p.unfold(place(p, "Deposit"))
	if body := eval[string](p, `document.querySelector('[name="account.Deposit body"]').value`); body != "{\n  \"Amount\": 0\n}" {
		t.Errorf("the body that is offered is %s", body)
	}
	p.fill("account.Deposit id", "ann")
	p.fill("account.Deposit body", `{"Amount": 5}`)
	first := p.send("account.Deposit", "200 OK\nTandem-Ran: yes\n", "\n5")
	if strings.Contains(first, "Replayed") {
		t.Errorf("the first answer is a replayed one: %s", first)
	}
	p.send("account.Deposit", "200 OK\nTandem-Ran: yes\nTandem-Replayed: true\n", "\n5")
	p.fill("account.Deposit Idempotency-Key", "another")
	if second := p.send("account.Deposit", "200 OK\nTandem-Ran: yes\n", "\n10"); strings.Contains(second, "Replayed") {
		t.Errorf("the answer under another key is a replayed one: %s", second)
	}
	p.fill("account.Deposit body", `{"Amount": "much"}`)
	p.fill("account.Deposit Idempotency-Key", "third")
	p.send("account.Deposit", "400 Bad Request\nTandem-Ran: no\nTandem-Code: undecodable\n", `"status":400`)
	p.sentOnlyTo(srv.URL)
}

// place is where the form of a message stands in the page, from 1 on.
func place(p *page, message string) int {
	p.t.Helper()
	return 1 + eval[int](p, fmt.Sprintf(`[...document.querySelectorAll("summary")].findIndex(s => s.textContent.endsWith(%s))`, js("/"+message)))
}

// sentOnlyTo checks that the browser has sent nothing to another host.
func (p *page) sentOnlyTo(at string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.hosts) < 2 {
		p.t.Errorf("the page made %d requests", len(p.hosts))
	}
	for _, host := range p.hosts {
		if "http://"+host != at {
			p.t.Errorf("the page sent a request to %q", host)
		}
	}
}

// What authors and actors write is text: no name, description, answer or error of theirs is script in the page.
func TestPageRunsNoScriptOfOthers(t *testing.T) {
	srv := served(t)
	p := open(t, srv.URL+"/-/docs")
	const name = "account." + evilName
	p.unfold(place(p, evilName))
	p.fill(name+" id", "ann")
	p.send(name, "200 OK", "onerror=", "window.hurt='image'")
	p.unfold(place(p, "Failing"))
	p.fill("account.Failing id", "ann")
	p.send("account.Failing", "422", "bank.evil", "window.hurt")
	p.unhurt()
	if n := eval[int](p, `document.querySelectorAll("img, pre script, details script").length`); n != 0 {
		t.Errorf("%d elements in the page are made of what others have written", n)
	}
	p.sentOnlyTo(srv.URL)
}

// unhurt checks that no script of others has run.
func (p *page) unhurt() {
	p.t.Helper()
	if hurt := eval[string](p, `String(window.hurt)`); hurt != "undefined" {
		p.t.Errorf("script of others has run: %s", hurt)
	}
}

// Even if a mistake in the page took text for HTML, the policy that comes with the page lets the browser run nothing of it, and
// send nothing to others.
func TestPolicyOfThePageIsEffective(t *testing.T) {
	srv := served(t)
	asked := make(chan string, 16)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer other.Close()
	p := open(t, srv.URL+"/-/docs")
	p.do(chromedp.Evaluate[chromedp.Void](`window.refused = []; document.addEventListener("securitypolicyviolation", e => window.refused.push(e.effectiveDirective)); undefined`))
	p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`{
		document.body.insertAdjacentHTML("beforeend", %s + '<img src="%s/image"><iframe src="%s/frame"></iframe>');
		const s = document.createElement("script"); s.textContent = "window.hurt = 'inline'"; document.body.append(s);
		const far = document.createElement("script"); far.src = "%s/script"; document.body.append(far);
		fetch("%s/fetch", {mode: "no-cors"}).catch(() => {});
	}; undefined`, js(evil), other.URL, other.URL, other.URL, other.URL)))
	const wants = `["script-src-elem", "script-src-attr", "img-src", "frame-src", "connect-src"]`
	if _, err := chromedp.Run(p.ctx, chromedp.Poll[bool](wants+`.every(d => window.refused.includes(d))`, chromedp.WithPollingTimeout(20*time.Second))); err != nil {
		t.Errorf("the browser refused %q, want %s: %v", eval[[]string](p, `window.refused`), wants, err)
	}
	p.unhurt()
	select {
	case at := <-asked:
		t.Errorf("another host was asked for %s", at)
	default:
	}
}
