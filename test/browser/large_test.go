package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/observer"
)

// crowd answers for 200 nodes that all talk to each other, in place of their admin actors.
type crowd struct{}

const crowdSize = 200

func (crowd) name(i int) string { return fmt.Sprintf("node-%03d", i) }

// Ask implements admin.Asker.
func (c crowd) Ask(_ context.Context, node, message string, _, into any) error {
	var answer any
	switch message {
	case "Members":
		var i admin.MembersInfo
		for n := range crowdSize {
			i.Members = append(i.Members, inspect.Member{Name: c.name(n), Epoch: "e"})
		}
		answer = i
	case "Overview":
		var i admin.OverviewInfo
		i.Name, i.Epoch, i.Stats.Actors = node, "e", 500
		for n := range crowdSize {
			if c.name(n) != node {
				i.Peers = append(i.Peers, inspect.Peer{Node: c.name(n), Up: true, Road: "tcp", Requests: uint64(time.Now().UnixMilli()), Links: []inspect.Link{{Road: "tcp", Current: true, Open: true}}})
			}
		}
		answer = i
	case "Events":
		answer = admin.EventsInfo{}
	case "Actors":
		i := admin.ActorsInfo{Seen: 500}
		for n := range 100 {
			i.Actors = append(i.Actors, inspect.Actor{Name: fmt.Sprint("x", n), Node: node, Kind: "k"})
		}
		answer = i
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// The page shows 200 nodes with 100,000 actors and 39,800 edges, and stays usable.
func TestLargeCluster(t *testing.T) {
	h, err := observer.New(admin.Through(crowd{}), observer.Config{Everybody: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	t.Cleanup(h.Close)
	begun := time.Now()
	p := openAt(t, srv.URL+"/", "svg.map")
	p.shows(20*time.Second, "svg.map", "node-199")
	t.Logf("the first picture is there after %v, with the start of the browser", time.Since(begun))
	p.shows(10*time.Second, "p", "quieter edges are left out")
	if n := eval[int](p, `document.querySelectorAll("svg.map circle").length`); n != crowdSize {
		t.Errorf("%d nodes are drawn", n)
	}
	if size := eval[int](p, `document.querySelectorAll("svg.map path").length`); size == 0 || size > 2000 {
		t.Errorf("%d edges are drawn", size)
	}
	p.shot("large")
	began := time.Now()
	p.visit("#/actors")
	p.shows(10*time.Second, "p", "100000 actors match")
	t.Logf("the actors are there after %v", time.Since(began))
	if rows := eval[int](p, `document.querySelectorAll("tbody tr").length`); rows != 200 {
		t.Errorf("%d rows", rows)
	}
	if text := eval[string](p, `document.querySelector("header").innerText`); !strings.Contains(text, "200 nodes") {
		t.Error(text)
	}
}
