//go:build unix

package gateways

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

var kills = flag.Int("gateways.kills", 8, "how often TestKills kills a node")

const (
	accounts = 200 // each keeps the outcomes of about 700 keys
	clients  = 16
	leastOps = 50 // requests for each kill: a system that stands still proves nothing
)

// fate is what a client knows of a request in the end.
type fate struct {
	to     string // an account, or the service
	ran    string // what the last answer said; empty: there was none
	unsure bool   // one of the attempts before may have run
	reply  string
}

// desk sends requests, and keeps what became of them.
type desk struct {
	nodes   []*process
	journal string // what the tills have written down
	cheats  bool   // makes each request twice, under two keys
	http    *http.Client
	nats    *nats.Conn
	cheated atomic.Int64
	again   atomic.Int64 // attempts beyond the first
	replays atomic.Int64

	mu    sync.Mutex // guards what follows
	fates map[int]fate
}

// service is who gets a third of the deposits, in place of an account: one of its instances, and under one key always the same.
const service = "tills"

// attempt makes one attempt at a deposit: over NATS, or through the HTTP gateway of a node. status is 0 without an answer.
func (d *desk) attempt(ctx context.Context, at *process, to string, id int) (ran, reply string, status int) {
	key, body := fmt.Sprintf("op-%d", id), fmt.Sprintf(`{"ID":%d}`, id)
	if d.cheats {
		key += fmt.Sprint("-", d.cheated.Add(1))
	}
	if id%2 == 1 {
		return d.overNATS(ctx, to, key, body)
	}
	return d.overHTTP(ctx, at, to, key, body)
}

func (d *desk) overNATS(ctx context.Context, to, key, body string) (ran, reply string, status int) {
	m := nats.NewMsg("tandem.api.-." + strings.ReplaceAll(to, "/", ".") + ".Deposit")
	m.Data = []byte(body)
	m.Header.Set("Idempotency-Key", key)
	m.Header.Set("Request-Timeout", "3")
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	a, err := d.nats.RequestMsgWithContext(ctx, m)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return "no", "", http.StatusServiceUnavailable
	case err != nil:
		return "", "", 0
	}
	if a.Header.Get("Tandem-Replayed") != "" {
		d.replays.Add(1)
	}
	status = http.StatusOK
	if code := a.Header.Get(micro.ErrorCodeHeader); code != "" {
		status, _ = strconv.Atoi(code)
	}
	return a.Header.Get("Tandem-Ran"), string(a.Data), status
}

func (d *desk) overHTTP(ctx context.Context, at *process, to, key, body string) (ran, reply string, status int) {
	r, err := http.NewRequestWithContext(ctx, "POST", "http://"+at.addr+"/"+to+"/Deposit", strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", `"`+key+`"`)
	r.Header.Set("Request-Timeout", "3")
	a, err := d.http.Do(r)
	if err != nil {
		return "", "", 0
	}
	defer a.Body.Close()
	answer, err := io.ReadAll(a.Body)
	if err != nil {
		return "", "", 0
	}
	if a.Header.Get("Tandem-Replayed") != "" {
		d.replays.Add(1)
	}
	return a.Header.Get("Tandem-Ran"), string(answer), a.StatusCode
}

// deposit makes a deposit: again and again until it is done, or with one attempt only if once.
func (d *desk) deposit(t *testing.T, id int, once bool) {
	f := fate{to: "account/a" + strconv.Itoa(id%accounts)}
	if id%3 == 0 {
		f.to = service
	}
	deadline := time.Now().Add(time.Minute)
	for n := 0; ; n++ {
		var status int
		if d.cheats {
			d.attempt(t.Context(), d.nodes[id%len(d.nodes)], f.to, id)
		}
		f.ran, f.reply, status = d.attempt(t.Context(), d.nodes[(id+n)%len(d.nodes)], f.to, id)
		if status == http.StatusOK || once || status == http.StatusBadGateway && strings.Contains(f.reply, "outcome-unknown") {
			break // the till was killed when it had begun: it never runs again, and nobody knows
		}
		f.unsure = f.unsure || f.ran != "no"
		if time.Now().After(deadline) {
			t.Errorf("request %d was not done in a minute: %d %s", id, status, f.reply)
			break
		}
		d.again.Add(1)
		time.Sleep(20 * time.Millisecond)
	}
	if f.to == service { // as if the answer had been lost: another gateway must not send it to another instance
		d.attempt(t.Context(), d.nodes[(id+1)%len(d.nodes)], f.to, id)
	}
	d.mu.Lock()
	d.fates[id] = f
	d.mu.Unlock()
}

// judge compares what clients know with what has run, and returns what is wrong.
func (d *desk) judge(t *testing.T) (wrong []string) {
	ran := map[int]int{}
	for i := range accounts {
		var done map[int]int
		for n := 0; done == nil; n++ {
			a, err := d.http.Get(fmt.Sprintf("http://%s/account/a%d/Done", d.nodes[n%len(d.nodes)].addr, i))
			if err == nil && a.StatusCode == 200 {
				err = json.NewDecoder(a.Body).Decode(&done)
			}
			if err == nil {
				a.Body.Close()
			}
			if n > 100 {
				t.Fatalf("account a%d does not answer: %v", i, err)
			}
			if done == nil {
				time.Sleep(50 * time.Millisecond)
			}
		}
		for id, n := range done {
			ran[id] += n
		}
	}
	text, err := os.ReadFile(d.journal)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		id, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		ran[id]++
	}
	says := map[string]int{}
	for id, f := range d.fates {
		says[f.ran]++
		n := ran[id]
		bad := n > 1 || f.ran == "yes" && (n != 1 || f.reply != "1") || f.ran == "no" && !f.unsure && n != 0
		if bad {
			wrong = append(wrong, fmt.Sprintf("request %d ran %d times; its client knows %+v", id, n, f))
		}
	}
	t.Logf("%d requests, %v; %d attempts more, %d replays", len(d.fates), says, d.again.Load(), d.replays.Load())
	return wrong
}

// run has nodes killed while clients make deposits, and returns what was wrong.
func (d *desk) run(t *testing.T, kills int) (wrong []string) {
	s := servers.Start(t, embedded.Config{StoreDir: t.TempDir()})
	d.http = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	d.fates, d.journal = map[int]fate{}, filepath.Join(t.TempDir(), "journal")
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	d.nats = nc
	for i := range 3 {
		p := &process{name: fmt.Sprint("node-", i), url: s.URL(), addr: fmt.Sprint("127.0.0.1:", ports.Free()), journal: d.journal}
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		d.nodes = append(d.nodes, p)
		defer p.kill()
	}
	var next atomic.Int64
	var over atomic.Bool
	var work sync.WaitGroup
	for range clients {
		work.Go(func() {
			for !over.Load() {
				id := int(next.Add(1))
				d.deposit(t, id, id%10 == 0)
			}
		})
	}
	for n := range kills {
		time.Sleep(300 * time.Millisecond) // the pace of the kills, not a wait for anything
		p := d.nodes[n%len(d.nodes)]
		p.kill()
		if n%2 == 1 {
			time.Sleep(200 * time.Millisecond)
		}
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
	}
	over.Store(true)
	work.Wait()
	return d.judge(t)
}

// Nodes with gateways are killed while clients send their requests again under the same keys, through other gateways, half of
// them over NATS. A third of the requests is for a service, whose instances are on these nodes; each of them is sent once more in the end. No request runs twice, and what an answer says about a request is true.
func TestKills(t *testing.T) {
	d := new(desk)
	for _, what := range d.run(t, *kills) {
		t.Error(what)
	}
	if least := leastOps * *kills; len(d.fates) < least {
		t.Errorf("%d requests were made, want at least %d", len(d.fates), least)
	}
	if d.again.Load() == 0 || d.replays.Load() == 0 {
		t.Error("no client had to try again, or no answer was a recorded one: the kills have disturbed nobody")
	}
}

// The judge of TestKills finds requests that run twice.
func TestJudge(t *testing.T) {
	d := &desk{cheats: true}
	if wrong := d.run(t, 1); len(wrong) == 0 {
		t.Error("each request ran twice, and nothing was found")
	}
}
