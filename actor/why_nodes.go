package actor

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/rpc"
)

// This file asks all nodes that are concerned what became of a request.

const (
	whyWait   = 5 * time.Second // how long one node is waited for
	whyNodes  = 1000            // how many nodes are asked about one request at most
	whyAtOnce = 16              // how many of them at a time
	whyRounds = 8               // how often what the nodes have said leads to further nodes or requests
	whyIDs    = 64              // how many requests are followed at most, beside those that the id names
)

// WhyAll is Why for all nodes that are concerned: this one, the one that a token names, and those that are named
// by what is found; or all that the registry has, if nothing is found on those. It also follows a request
// to its retries, and to the request under the same key whose outcome it got. What nodes could not be asked, or
// may not be, is in Life.Unasked; the error is only about the id. No node is
// waited for longer than 5 s.
func (s *System) WhyAll(ctx context.Context, id string) (inspect.Life, error) {
	q, node, err := s.question(id)
	if err != nil {
		return inspect.Life{}, err
	}
	w := whySearch{sys: s, asked: map[whyAsk]bool{}, known: map[string]bool{}}
	nodes := []string{s.cfg.Name}
	if node != "" && node != s.cfg.Name {
		nodes = append(nodes, node)
	}
	questions := []whyAsked{q}
	for round := range whyRounds {
		found := w.ask(ctx, nodes, questions)
		if round == 0 && found == 0 {
			nodes = s.members.names()
			continue
		}
		if found == 0 {
			break
		}
		nodes, questions = w.next(nodes, questions)
	}
	steps := inspect.Merge(w.steps)
	return inspect.Life{Steps: steps, Unasked: w.unasked, More: w.more}, nil
}

// whyAsk is a question to a node.
type whyAsk struct {
	node string
	q    whyAsked
}

// whySearch is what WhyAll has found. ask alone uses it concurrently, under mu.
type whySearch struct {
	sys     *System
	asked   map[whyAsk]bool
	known   map[string]bool // requests at nodes whose steps are known
	more    bool
	unasked []inspect.Unasked

	mu    sync.Mutex // guards steps while ask runs
	steps []inspect.Step
}

// ask asks the nodes the questions that they were not asked yet, and returns how many steps were found that
// were not known.
func (w *whySearch) ask(ctx context.Context, nodes []string, questions []whyAsked) (found int) {
	var group sync.WaitGroup
	turn := make(chan struct{}, whyAtOnce)
	var all [][]inspect.Step
	for _, node := range nodes[:min(len(nodes), whyNodes)] {
		for _, q := range questions {
			if at := (whyAsk{node, q}); !w.asked[at] {
				w.asked[at] = true
				turn <- struct{}{}
				group.Go(func() {
					defer func() { <-turn }()
					ctx, cancel := context.WithTimeout(ctx, whyWait)
					defer cancel()
					steps, err := w.sys.askWhy(ctx, node, q)
					w.mu.Lock()
					defer w.mu.Unlock()
					if err != nil {
						w.missed(node, err)
					} else if len(steps) > 0 {
						all = append(all, steps)
					}
				})
			}
		}
	}
	group.Wait()
	slices.SortFunc(all, func(a, b []inspect.Step) int { return a[0].Time.Compare(b[0].Time) })
	for _, steps := range all {
		found += w.add(steps)
	}
	return found
}

// missed notes that a node could not be asked. w.mu is held.
func (w *whySearch) missed(node string, err error) {
	if !slices.ContainsFunc(w.unasked, func(u inspect.Unasked) bool { return u.Node == node }) {
		w.unasked = append(w.unasked, inspect.Unasked{Node: node, Reason: err.Error()})
	}
}

// add adds the steps of requests that are not known yet, and returns how many these are.
func (w *whySearch) add(steps []inspect.Step) (found int) {
	w.more = w.more || len(steps) == inspect.MaxSteps
	fresh := map[string]bool{}
	for _, st := range steps {
		at := st.Node + " " + string(st.Side) + " " + st.Request + " " + st.Job
		if !w.known[at] {
			fresh[at], w.known[at] = true, true
		}
		if fresh[at] {
			w.steps = append(w.steps, st)
			found++
		}
	}
	return found
}

// next returns the nodes and the questions that the steps lead to.
func (w *whySearch) next(nodes []string, questions []whyAsked) ([]string, []whyAsked) {
	for _, st := range w.steps {
		if st.Peer != "" && !slices.Contains(nodes, st.Peer) && len(nodes) < whyNodes {
			nodes = append(nodes, st.Peer)
		}
		for _, id := range []string{st.Other, st.Request} {
			if q := (whyAsked{Request: id}); id != "" && !slices.Contains(questions, q) && len(questions) < whyIDs {
				if _, err := rpc.ParseRequestID(id); err == nil {
					questions = append(questions, q)
				}
			}
		}
	}
	return nodes, questions
}

// names returns the names of all nodes that are known, this one included.
func (m *members) names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := []string{m.sys.cfg.Name}
	for name := range m.nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
