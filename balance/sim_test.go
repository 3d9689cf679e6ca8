package balance

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is a queueing model: clients send requests at random times to instances that serve one
// after another, each in a random time around its own mean. All times are exponential, which is
// harder than reality: nothing can be learned from how long a request has been running.
type model struct {
	clients, instances int
	load               float64 // of all instances together; 1 is as much as they can serve
	slow               float64 // how much slower the first one is; 1: not slower
}

// arrival is a request on its way, or a departure.
type arrival struct {
	at       time.Duration
	client   int
	begun    time.Duration
	instance int // -1: it arrives
	ticket   Ticket
}

type timeline []arrival

func (l timeline) Len() int           { return len(l) }
func (l timeline) Less(i, j int) bool { return l[i].at < l[j].at }
func (l timeline) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *timeline) Push(x any)        { *l = append(*l, x.(arrival)) }
func (l *timeline) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

const meanService = 10 * time.Millisecond

// run returns the times that requests took, sorted. With oracle, an instance is chosen by the
// present state of all queues; otherwise each client has a Picker.
func (m model) run(seed uint64, requests int, policy *Policy) []time.Duration {
	r := rand.New(rand.NewPCG(seed, 1))
	var instances []Instance
	free := make([]time.Duration, m.instances) // when all that it has will be served
	queue := make([]int, m.instances)
	mean := make([]float64, m.instances)
	capacity := 0.0
	for i := range m.instances {
		instances = append(instances, Instance{Node: string(rune('a' + i)), Epoch: "1", Actor: "x", Data: i})
		mean[i] = float64(meanService)
		if i == 0 {
			mean[i] *= m.slow
		}
		capacity += 1 / mean[i]
	}
	var pickers []*Picker
	for range m.clients {
		if policy != nil {
			p := New(*policy)
			p.Set(0, instances)
			p.whole.turn = r.Uint64()
			pickers = append(pickers, p)
		}
	}
	var line timeline
	gap := func() time.Duration { return time.Duration(r.ExpFloat64() * float64(m.clients) / (m.load * capacity)) }
	for c := range m.clients {
		heap.Push(&line, arrival{at: gap(), client: c, instance: -1})
	}
	var took []time.Duration
	for len(took) < requests {
		e := heap.Pop(&line).(arrival)
		if e.instance >= 0 {
			queue[e.instance]--
			if pickers != nil {
				pickers[e.client].End(e.ticket, e.at, Answered, r.Uint64())
			}
			took = append(took, e.at-e.begun)
			continue
		}
		heap.Push(&line, arrival{at: e.at + gap(), client: e.client, instance: -1})
		d := arrival{client: e.client, begun: e.at}
		if pickers != nil {
			var ok bool
			if d.ticket, ok = pickers[e.client].Pick(e.at, Request{Random: r.Uint64()}); !ok {
				panic("no instance")
			}
			d.instance = d.ticket.To.Data.(int)
		} else {
			d.instance = r.IntN(m.instances)
			for i := range queue {
				if float64(queue[i]+1)*mean[i] < float64(queue[d.instance]+1)*mean[d.instance] {
					d.instance = i
				}
			}
		}
		i := d.instance
		queue[i]++
		free[i] = max(free[i], e.at) + time.Duration(r.ExpFloat64()*mean[i])
		d.at = free[i]
		heap.Push(&line, d)
	}
	took = took[requests/10:] // the beginning is different from the rest
	slices.Sort(took)
	return took
}

// The slowest requests are not much slower than with an oracle that knows all queues and puts
// each request into the shortest one.
func TestNearTheOracle(t *testing.T) {
	const requests = 60_000
	for _, m := range []model{
		{1, 4, 0.5, 1}, {1, 4, 0.8, 1}, {1, 4, 0.9, 1}, {1, 16, 0.8, 1}, {1, 64, 0.8, 1},
		{4, 4, 0.5, 1}, {4, 4, 0.8, 1}, {2, 16, 0.8, 1}, {4, 16, 0.8, 1}, {16, 16, 0.8, 1}, {64, 64, 0.7, 1},
		{1, 4, 0.8, 10}, {1, 16, 0.8, 10}, {2, 16, 0.8, 10},
	} {
		oracle := m.run(1, requests, nil)
		p99 := func(took []time.Duration) time.Duration { return took[len(took)*99/100] }
		ratio := func(p Policy) float64 {
			return float64(p99(m.run(1, requests, &p))) / float64(p99(oracle))
		}
		least, robin := ratio(LeastLoaded()), ratio(RoundRobin())
		t.Logf("%2d clients, %2d instances, load %.1f, one %2.0f× slower: oracle p99 %5.1f ms; LeastLoaded × %.2f, RoundRobin × %.2f",
			m.clients, m.instances, m.load, m.slow, float64(p99(oracle))/1e6, least, robin)
		switch few := m.clients <= 4; { // many clients know too little about each other, so the result is near that of taking turns
		case few && least > 1.5:
			t.Errorf("p99 is %.2f times that of the oracle", least)
		case least > 1.1*robin:
			t.Errorf("p99 is %.2f times that of the oracle, and with RoundRobin %.2f times", least, robin)
		}
	}
}
