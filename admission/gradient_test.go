package admission

import (
	"container/heap"
	"testing"
	"time"
)

// feed gives g n windows in which requests take so long while so many are under way.
func feed(g *gradient, n int, took time.Duration, underWay int) {
	now := time.Unix(0, 0)
	for range n {
		for i := range minSamples {
			g.Sample(now.Add(time.Duration(i)*g.Window), took, underWay)
		}
	}
}

func TestGradient(t *testing.T) {
	const ms = time.Millisecond
	for _, row := range []struct {
		what     string
		run      func(g *gradient)
		low, top int
	}{
		{"begins", func(*gradient) {}, 20, 20},
		{"nothing gets slower", func(g *gradient) { feed(g, 10, 10*ms, 20) }, 26, 28}, // 0.8 more each time
		{"and on, up to Max", func(g *gradient) { feed(g, 1000, 10*ms, 200) }, 100, 100},
		{"within the tolerance", func(g *gradient) { feed(g, 100, 10*ms, 50); feed(g, 10, 14*ms, 90) }, 100, 100},
		{"twice as slow", func(g *gradient) { feed(g, 100, 10*ms, 60); feed(g, 10, 25*ms, 90) }, 40, 65},
		{"much slower, down to Min", func(g *gradient) { feed(g, 100, 10*ms, 60); feed(g, 30, time.Second, 90) }, 5, 12},
		{"fast again", func(g *gradient) { feed(g, 100, 10*ms, 60); feed(g, 30, time.Second, 90); feed(g, 400, 10*ms, 90) }, 80, 100},
		{"hardly used", func(g *gradient) { feed(g, 1000, 10*ms, 9) }, 20, 20},
		{"too few samples", func(g *gradient) {
			for i := range minSamples - 1 {
				g.Sample(time.Unix(int64(i), 0), ms, 20)
			}
		}, 20, 20},
	} {
		g := newGradient(Gradient{Min: 5, Max: 100})
		row.run(g)
		if n := g.Limit(); n < row.low || n > row.top {
			t.Errorf("%s: %d, want %d to %d", row.what, n, row.low, row.top)
		}
	}
}

// server is a simulated one: so many workers take service for each request, which waits in a line.
type server struct {
	workers int
	service time.Duration
	free    times // when each worker is free
}

type times []time.Time

func (h times) Len() int           { return len(h) }
func (h times) Less(i, j int) bool { return h[i].Before(h[j]) }
func (h times) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *times) Push(x any)        { *h = append(*h, x.(time.Time)) }
func (h *times) Pop() any          { old := *h; x := old[len(old)-1]; *h = old[:len(old)-1]; return x }

// take returns when a request that comes now is done.
func (s *server) take(now time.Time) time.Time {
	for len(s.free) > s.workers {
		heap.Pop(&s.free)
	}
	for len(s.free) < s.workers {
		heap.Push(&s.free, now)
	}
	begin := heap.Pop(&s.free).(time.Time)
	if begin.Before(now) {
		begin = now
	}
	done := begin.Add(s.service)
	heap.Push(&s.free, done)
	return done
}

// A server at ten times its capacity, which halves and comes back: the limit follows, most of what the
// server can do is done, and nobody waits long.
func TestGradientFollowsCapacity(t *testing.T) {
	const service = 10 * time.Millisecond
	d := newDesk(t, Limit{Name: "all", Adaptive: &Gradient{}})
	srv := &server{service: service}
	type running struct {
		end time.Time
		p   *Permit
	}
	var line []running // in the order of their ends, since all take the same time
	for phase, workers := range []int{40, 20, 40} {
		srv.workers = workers
		done, waited, least, most := 0, time.Duration(0), 1<<30, 0
		const length = 30 * time.Second
		begun := d.now
		gap := service / time.Duration(workers) / 10
		for d.now.Sub(begun) < length {
			d.now = d.now.Add(gap)
			for len(line) > 0 && !line[0].end.After(d.now) {
				r := line[0]
				line = line[1:]
				if late := d.now.Sub(begun) > length/3; late {
					done++
					waited += r.end.Sub(r.p.began)
				}
				d.End(r.end, r.p, true)
			}
			p := new(Permit)
			if d.Admit(d.now, &Message{}, p) == nil {
				line = append(line, running{srv.take(d.now), p})
			}
			if d.now.Sub(begun) > length/3 {
				_, limit := d.UnderWay("all")
				least, most = min(least, limit), max(most, limit)
			}
		}
		could := int(float64(workers) * (length - length/3).Seconds() / service.Seconds())
		mean := waited / time.Duration(done)
		t.Logf("phase %d: %d workers: %d%% of the capacity used, %v for each request, limit %d to %d", phase+1, workers, 100*done/could, mean, least, most)
		if done < could*9/10 {
			t.Errorf("phase %d: %d requests of %d were served", phase+1, done, could)
		}
		if mean > 3*service {
			t.Errorf("phase %d: a request took %v", phase+1, mean)
		}
		if least < workers || most > 4*workers { // in an overload without an end it rises, see Gradient
			t.Errorf("phase %d: %d workers, limit %d to %d", phase+1, workers, least, most)
		}
	}
}
