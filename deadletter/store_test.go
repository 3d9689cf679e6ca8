package deadletter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/rpc"
)

var (
	errGone    = rpc.Errorf(rpc.NotFound, rpc.NotRun, "no such actor")
	errDropped = rpc.Errorf(rpc.Overloaded, rpc.NotRun, "dropped")
)

// newStore returns a store without letters. Limits of 0 keep none.
func newStore(letters, bytes int) *Store[string] {
	none := func(n int) int {
		if n == 0 {
			return -1
		}
		return n
	}
	return New[string](Limits{none(letters), none(bytes)}, "node-")
}

// letterOf returns a letter of a size.
func letterOf(size int) Kept {
	return Kept{Letter: Letter{To: "x@a", Type: "T", Reason: errGone}, Size: size}
}

// ids returns the ids of letters, without the prefix, in a row.
func ids(letters []Kept) string {
	var all []string
	for _, l := range letters {
		all = append(all, strings.TrimPrefix(l.ID, "node-"))
	}
	return strings.Join(all, " ")
}

// A store keeps as much as its limits say, and no more: the oldest letters go first, and of a
// principal of another node its own oldest ones.
func TestBounds(t *testing.T) {
	type put struct {
		owner string
		size  int
	}
	many := func(n int, p put) (all []put) {
		for range n {
			all = append(all, p)
		}
		return all
	}
	own, peer, other := put{"", 10}, put{"p", 10}, put{"q", 10}
	for name, row := range map[string]struct {
		letters, bytes int
		puts           []put
		left           string
		dropped        uint64
	}{
		"as many as fit":                     {3, 1000, many(3, own), "1 2 3", 0},
		"one more":                           {3, 1000, many(4, own), "2 3 4", 1},
		"as many bytes as fit":               {100, 30, many(3, own), "1 2 3", 0},
		"one byte more":                      {100, 29, many(3, own), "2 3", 1},
		"one as large as all":                {100, 30, []put{own, {"", 30}}, "2", 1},
		"one that is larger":                 {100, 30, []put{own, {"", 31}}, "1", 1},
		"a large one pushes out several":     {100, 40, append(many(4, own), put{"", 25}), "4 5", 3},
		"a quarter of the number":            {8, 1000, many(2, peer), "1 2", 0},
		"one more than a quarter":            {8, 1000, many(3, peer), "2 3", 1},
		"a quarter of the bytes":             {100, 80, many(2, peer), "1 2", 0},
		"more than a quarter of the bytes":   {100, 79, many(2, peer), "2", 1},
		"one of a quarter":                   {100, 40, []put{peer, {"q", 10}}, "1 2", 0},
		"one of more than a quarter":         {100, 40, []put{peer, {"q", 11}}, "1", 1},
		"a principal pushes out its own":     {8, 1000, append(append(many(6, own), peer, peer), peer), "1 2 3 4 5 6 8 9", 1},
		"several principals fill all":        {8, 1000, []put{peer, peer, other, other, {"r", 1}, {"r", 1}, {"s", 1}, {"s", 1}, {"t", 1}}, "2 3 4 5 6 7 8 9", 1},
		"no quarter of three":                {3, 1000, many(2, peer), "", 2},
		"a quarter of four":                  {4, 1000, many(2, peer), "2", 1},
		"none":                               {0, 1000, many(2, own), "", 0},
		"no bytes":                           {10, 0, many(2, own), "", 0},
		"this node is bound by all of it":    {4, 40, many(4, own), "1 2 3 4", 0},
		"room that others leave is not lost": {8, 1000, append(many(8, own), peer), "2 3 4 5 6 7 8 9", 1},
	} {
		s := newStore(row.letters, row.bytes)
		for _, p := range row.puts {
			id := s.Add(p.owner, letterOf(p.size), "carried")
			if l := s.find(id); (l != nil) != (id != "") || l != nil && (l.ID != id || l.carried != "carried") {
				t.Errorf("%s: kept %+v under %q", name, l, id)
			}
		}
		if got := ids(s.List(Filter{})); got != row.left || s.dropped != row.dropped {
			t.Errorf("%s: %q are left and %d dropped, want %q and %d", name, got, s.dropped, row.left, row.dropped)
		}
	}
}

func TestFilter(t *testing.T) {
	s := newStore(100, 1e6)
	begin := time.Unix(1000, 0)
	for i, l := range []struct {
		to, typ string
		reason  *rpc.Error
	}{{"x@a", "T", errGone}, {"y@a", "T", errDropped}, {"x@a", "U", errDropped}, {"y@b", "U", errGone}, {"x@a", "T", errGone}} {
		s.Add("", Kept{Letter: Letter{Time: begin.Add(time.Duration(i) * time.Second), To: l.to, Type: l.typ, Reason: l.reason}, Size: 1}, "")
	}
	at := func(sec int) time.Time { return begin.Add(time.Duration(sec) * time.Second) }
	for name, row := range map[string]struct {
		f    Filter
		want string
	}{
		"all":                     {Filter{}, "1 2 3 4 5"},
		"newest first":            {Filter{NewestFirst: true}, "5 4 3 2 1"},
		"an id":                   {Filter{ID: "node-3"}, "3"},
		"an id and another actor": {Filter{ID: "node-3", Actor: "y@a"}, ""},
		"an id after another":     {Filter{ID: "node-3", After: "node-2"}, "3"},
		"an id before another":    {Filter{ID: "node-3", After: "node-3"}, ""},
		"an id of another start":  {Filter{ID: "edon-3"}, ""},
		"no number":               {Filter{ID: "node-3x"}, ""},
		"another form":            {Filter{ID: "node-03"}, ""},
		"an actor":                {Filter{Actor: "x@a"}, "1 3 5"},
		"a name without a node":   {Filter{Actor: "y"}, ""},
		"a type":                  {Filter{Type: "U"}, "3 4"},
		"a code":                  {Filter{Code: rpc.Overloaded}, "2 3"},
		"since":                   {Filter{Since: at(3)}, "4 5"},
		"until":                   {Filter{Until: at(3)}, "1 2 3"},
		"a range":                 {Filter{Since: at(1), Until: at(3)}, "2 3"},
		"an empty range":          {Filter{Since: at(3), Until: at(3)}, ""},
		"several":                 {Filter{Actor: "x@a", Type: "T", Code: rpc.NotFound, NewestFirst: true}, "5 1"},
		"limited":                 {Filter{Limit: 2}, "1 2"},
		"the next page":           {Filter{Limit: 2, After: "node-2"}, "3 4"},
		"newest, limited":         {Filter{Limit: 2, NewestFirst: true}, "5 4"},
		"newest, the next page":   {Filter{Limit: 2, NewestFirst: true, After: "node-4"}, "3 2"},
		"after the last":          {Filter{After: "node-5"}, ""},
		"after one to come":       {Filter{After: "node-9"}, ""},
		"newest, after any":       {Filter{NewestFirst: true, After: "node-9"}, "5 4 3 2 1"},
		"after one of elsewhere":  {Filter{After: "edon-1"}, ""},
		"a page of a filter":      {Filter{Limit: 1, After: "node-1", Actor: "x@a"}, "3"},
	} {
		if got := ids(s.List(row.f)); got != row.want {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
	s.remove(s.find("node-2"))
	if got := ids(s.List(Filter{After: "node-2"})); got != "3 4 5" {
		t.Errorf("after one that has gone: %q", got)
	}
	if n := s.Discard(Filter{Actor: "x@a", Limit: 2}); n != 2 || ids(s.List(Filter{})) != "4 5" {
		t.Errorf("%d discarded, %q left", n, ids(s.List(Filter{})))
	}
	if n := s.Discard(Filter{ID: "node-4"}); n != 1 {
		t.Errorf("%d discarded by id", n)
	}
	if n := s.Discard(Filter{}); n != 1 || s.all.Len() != 0 || s.bytes != 0 || s.dropped != 0 {
		t.Errorf("%d discarded, %d bytes are left, %d dropped", n, s.bytes, s.dropped)
	}
}

func TestPages(t *testing.T) {
	s := newStore(5000, 1e6)
	for range 3000 {
		s.Add("", letterOf(1), "")
	}
	for limit, want := range map[int]int{-1: DefaultPage, 0: DefaultPage, 1: 1, MaxPage: MaxPage, MaxPage + 1: MaxPage} {
		if got := len(s.List(Filter{Limit: limit})); got != want {
			t.Errorf("a limit of %d: %d letters, want %d", limit, got, want)
		}
	}
	if n := s.Discard(Filter{}); n != 3000 {
		t.Errorf("%d discarded", n)
	}
}

// What becomes of a letter, for each stage and each outcome.
func TestStages(t *testing.T) {
	for _, row := range []struct {
		from   stage
		taken  stage
		free   bool
		notRun stage
	}{
		{undelivered, sending, true, undelivered},
		{unclear, sendingAgain, true, unclear},
		{sending, sending, false, 0},
		{sendingAgain, sendingAgain, false, 0},
	} {
		next, free := row.from.take()
		if next != row.taken || free != row.free {
			t.Errorf("%v taken: %v, %v", row.from, next, free)
		}
		if !free {
			continue
		}
		for ran, want := range map[rpc.Verdict]stage{rpc.NotRun: row.notRun, rpc.Unknown: unclear} {
			if got, gone := next.settle(ran); got != want || gone {
				t.Errorf("%v after %v: %v, gone: %v; want %v", next, ran, got, gone, want)
			}
		}
		if _, gone := next.settle(rpc.HasRun); !gone {
			t.Errorf("%v is not gone when it has arrived", next)
		}
	}
}

// An attempt after an unclear one goes to the same actor, to the same start of its node, and only
// while its key is remembered.
func TestTake(t *testing.T) {
	const life = time.Minute
	begin := time.Unix(1000, 0)
	const x, y, service = "x@a", "y@b", "s@*"
	s := newStore(10, 1000)
	put := func() string { return s.Add("", letterOf(1), "carried") }
	take := func(after time.Duration, id string, to string) (Attempt[string], error) {
		a, err := s.Take(begin.Add(after), life, id, to)
		if err != nil && rpc.Ran(err) != rpc.Unknown {
			t.Errorf("%v: %v", err, rpc.Ran(err))
		}
		if err == nil && (a.ID != id || a.State != Sending || a.Carried != "carried") {
			t.Errorf("%+v", a)
		}
		return a, err
	}
	if _, err := take(0, "node-1", x); !errors.Is(err, ErrGone) {
		t.Errorf("of no letter: %v", err)
	}
	id := put()
	a, err := take(0, id, "")
	if err != nil || a.Asked != x || a.At != ("") || a.Epoch != "" {
		t.Errorf("to where it was addressed: %+v, %v", a, err)
	}
	if _, err := take(0, id, y); !errors.Is(err, ErrBusy) {
		t.Errorf("while it is sent: %v", err)
	}
	if s.Discard(Filter{ID: id}) != 0 {
		t.Error("it was discarded while it was sent")
	}
	s.Settle(a, rpc.NotRun, false)
	a, err = take(time.Second, id, service)
	if err != nil || a.Asked != service {
		t.Errorf("after not run, elsewhere: %+v, %v", a, err)
	}
	a.At, a.Epoch = y, "e1"
	s.Settle(a, rpc.Unknown, true)
	for what, row := range map[string]struct {
		after time.Duration
		to    string
		err   error
	}{
		"elsewhere":          {2 * time.Second, x, ErrUnclear},
		"the actor":          {2 * time.Second, y, nil},
		"the service":        {2 * time.Second, service, nil},
		"as before":          {2 * time.Second, "", nil},
		"just in time":       {time.Second + life - 1, y, nil},
		"too late":           {time.Second + life, y, ErrUnclear},
		"much too late":      {time.Hour, "", ErrUnclear},
		"elsewhere, at last": {time.Hour, x, ErrUnclear},
	} {
		b, err := take(row.after, id, row.to)
		if !errors.Is(err, row.err) {
			t.Errorf("%s: %v, want %v", what, err, row.err)
		}
		if err == nil {
			if b.At != y || b.Asked != service || b.Epoch != "e1" || !b.Expiry.Equal(begin.Add(time.Second+life)) {
				t.Errorf("%s: %+v", what, b)
			}
			s.Settle(b, rpc.NotRun, false)
		}
	}
	if all := s.List(Filter{}); len(all) != 1 || all[0].State != Unclear || all[0].SentTo != y || !all[0].Until.Equal(begin.Add(time.Second+life)) {
		t.Errorf("it may have arrived: %+v", all)
	}
	if n := s.Discard(Filter{}); n != 1 {
		t.Errorf("%d unclear letters discarded", n)
	}
	id = put()
	a, _ = take(0, id, y)
	a.At = y
	s.Settle(a, rpc.Unknown, false)
	if _, err := take(0, id, y); !errors.Is(err, ErrUnclear) {
		t.Errorf("after an attempt without a key: %v", err)
	}
	id = put()
	a, _ = take(0, id, y)
	for range 20 {
		put() // pushes it out
	}
	dropped := s.dropped
	s.Settle(a, rpc.NotRun, false)
	if s.find(id) != nil || s.all.Len() != 10 || s.bytes != 10 || s.dropped != dropped+1 {
		t.Errorf("a letter that was pushed out while it was sent is back; %d letters, %d bytes", s.all.Len(), s.bytes)
	}
	id = put()
	a, _ = take(0, id, y)
	for range 20 {
		put()
	}
	dropped = s.dropped
	if s.Settle(a, rpc.HasRun, false); s.find(id) != nil || s.all.Len() != 10 || s.bytes != 10 || s.dropped != dropped {
		t.Errorf("a letter that was pushed out, and arrived: %d letters, %d bytes, %d dropped", s.all.Len(), s.bytes, s.dropped-dropped)
	}
}

// Whatever happens, the store keeps to its limits, counts right, and lets no letter be accepted
// twice by receivers that forget a key after a minute, and with their start.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStore(rapid.IntRange(0, 12).Draw(t, "letters"), rapid.IntRange(0, 120).Draw(t, "bytes"))
		now := time.Unix(0, 0)
		const life = time.Minute
		epochs := map[string]int{}
		type memory struct {
			epoch int
			until time.Time
		}
		accepted := map[string]int{}              // by id
		known := map[string]map[string][]memory{} // what receivers remember
		var open []Attempt[string]                // attempts that are under way
		owners := []string{"", "", "p", "q"}      // two of four are this node
		places := []string{"", "x@a", "y@b"}
		var given []string
		steps := rapid.IntRange(1, 80).Draw(t, "steps")
		for range steps {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				id := s.Add(rapid.SampledFrom(owners).Draw(t, "owner"), letterOf(rapid.IntRange(1, 40).Draw(t, "size")), "")
				if slices.Contains(given, id) {
					t.Fatalf("%s was given twice", id)
				}
				if id != "" {
					given = append(given, id)
				}
			case 2:
				if len(given) == 0 {
					continue
				}
				id := rapid.SampledFrom(given).Draw(t, "id")
				busy := slices.ContainsFunc(open, func(a Attempt[string]) bool { return a.ID == id })
				a, err := s.Take(now, life, id, rapid.SampledFrom(places).Draw(t, "to"))
				if err == nil && busy {
					t.Fatalf("%s is sent twice at a time", id)
				}
				if err == nil {
					if a.At == ("") {
						a.At = a.Asked
					}
					open = append(open, a)
				}
			case 3:
				if len(open) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "attempt")
				a := open[i]
				open = slices.Delete(open, i, i+1)
				epoch := epochs[a.At]
				arrives := rapid.Bool().Draw(t, "arrives") && now.Before(a.Expiry) && (a.Epoch == "" || a.Epoch == fmt.Sprint(epoch))
				said := rapid.Bool().Draw(t, "said")
				if arrives {
					if known[a.ID] == nil {
						known[a.ID] = map[string][]memory{}
					}
					if !slices.ContainsFunc(known[a.ID][a.At], func(m memory) bool { return m.epoch == epoch && now.Before(m.until) }) {
						if accepted[a.ID]++; accepted[a.ID] > 1 {
							t.Fatalf("%s was accepted twice", a.ID)
						}
						known[a.ID][a.At] = append(known[a.ID][a.At], memory{epoch, now.Add(life)})
					}
				}
				if a.Epoch == "" {
					a.Epoch = fmt.Sprint(epoch)
				}
				switch {
				case !said:
					s.Settle(a, rpc.Unknown, true)
				case arrives:
					s.Settle(a, rpc.HasRun, true)
				default:
					s.Settle(a, rpc.NotRun, true)
				}
			case 4:
				now = now.Add(time.Duration(rapid.IntRange(1, 50).Draw(t, "seconds")) * time.Second)
				if rapid.Bool().Draw(t, "restart") {
					epochs[rapid.SampledFrom(places).Draw(t, "where")]++
				}
			case 5:
				s.Discard(Filter{Limit: rapid.IntRange(0, 3).Draw(t, "limit"), NewestFirst: rapid.Bool().Draw(t, "newest")})
			}
			checkStore(t, s)
		}
	})
}

// checkStore checks the counts and limits of a store.
func checkStore(t *rapid.T, s *Store[string]) {
	bytes, owned := 0, map[string][2]int{}
	last := uint64(0)
	for e := s.all.Front(); e != nil; e = e.Next() {
		l := e.Value.(*letter[string])
		bytes += l.Size
		owned[l.owner] = [2]int{owned[l.owner][0] + 1, owned[l.owner][1] + l.Size}
		if l.seq <= last || s.find(l.ID) != l {
			t.Fatalf("%s is out of order, or not found", l.ID)
		}
		last = l.seq
	}
	if s.all.Len() > s.limits.Letters || bytes > s.limits.Bytes || bytes != s.bytes || len(s.bySeq) != s.all.Len() {
		t.Fatalf("%d letters of %d bytes, counted %d and %d; limits %+v", s.all.Len(), bytes, len(s.bySeq), s.bytes, s.limits)
	}
	for owner, n := range owned {
		if owner != "" && (n[0] > s.limits.Letters/4 || n[1] > s.limits.Bytes/4 || s.owners[owner].bytes != n[1] || s.owners[owner].letters.Len() != n[0]) {
			t.Fatalf("%s has %d letters of %d bytes", owner, n[0], n[1])
		}
	}
	if delete(owned, ""); len(s.owners) != len(owned) {
		t.Fatalf("%d owners are remembered, %d have letters", len(s.owners), len(owned))
	}
}
