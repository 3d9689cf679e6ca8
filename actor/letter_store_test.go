package actor

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

// newLetters returns a store without letters.
func newLetters(letters, bytes int) *letterStore {
	return &letterStore{limits: LetterLimits{letters, bytes}, prefix: "node-"}
}

// letterOf returns a letter of a size, for which owner is answerable.
func letterOf(owner string, size int) *letter {
	return &letter{DeadLetter: DeadLetter{To: "x@a", Type: "T", Reason: errGone}, owner: owner, size: size}
}

// ids returns the ids of letters, without the prefix, in a row.
func ids(letters []*letter) string {
	var all []string
	for _, l := range letters {
		all = append(all, strings.TrimPrefix(l.ID, "node-"))
	}
	return strings.Join(all, " ")
}

// A store keeps as much as its limits say, and no more: the oldest letters go first, and of a
// principal of another node its own oldest ones.
func TestLetterBounds(t *testing.T) {
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
		s := newLetters(row.letters, row.bytes)
		for _, p := range row.puts {
			l := letterOf(p.owner, p.size)
			if kept := s.add(l); kept != (l.ID != "") || kept != (s.find(l.ID) == l) {
				t.Errorf("%s: kept %v under %q", name, kept, l.ID)
			}
		}
		if got := ids(s.list(LetterFilter{})); got != row.left || s.dropped != row.dropped {
			t.Errorf("%s: %q are left and %d dropped, want %q and %d", name, got, s.dropped, row.left, row.dropped)
		}
	}
}

func TestLetterFilter(t *testing.T) {
	s := newLetters(100, 1e6)
	begin := time.Unix(1000, 0)
	for i, l := range []struct {
		to, typ string
		reason  *rpc.Error
	}{{"x@a", "T", errGone}, {"y@a", "T", errDropped}, {"x@a", "U", errDropped}, {"y@b", "U", errGone}, {"x@a", "T", errGone}} {
		s.add(&letter{DeadLetter: DeadLetter{Time: begin.Add(time.Duration(i) * time.Second), To: l.to, Type: l.typ, Reason: l.reason}, size: 1})
	}
	at := func(sec int) time.Time { return begin.Add(time.Duration(sec) * time.Second) }
	for name, row := range map[string]struct {
		f    LetterFilter
		want string
	}{
		"all":                     {LetterFilter{}, "1 2 3 4 5"},
		"newest first":            {LetterFilter{NewestFirst: true}, "5 4 3 2 1"},
		"an id":                   {LetterFilter{ID: "node-3"}, "3"},
		"an id and another actor": {LetterFilter{ID: "node-3", Actor: "y@a"}, ""},
		"an id after another":     {LetterFilter{ID: "node-3", After: "node-2"}, "3"},
		"an id before another":    {LetterFilter{ID: "node-3", After: "node-3"}, ""},
		"an id of another start":  {LetterFilter{ID: "edon-3"}, ""},
		"no number":               {LetterFilter{ID: "node-3x"}, ""},
		"another form":            {LetterFilter{ID: "node-03"}, ""},
		"an actor":                {LetterFilter{Actor: "x@a"}, "1 3 5"},
		"a name of this node":     {LetterFilter{Actor: "y"}.at("a"), "2"},
		"a type":                  {LetterFilter{Type: "U"}, "3 4"},
		"a code":                  {LetterFilter{Code: rpc.Overloaded}, "2 3"},
		"since":                   {LetterFilter{Since: at(3)}, "4 5"},
		"until":                   {LetterFilter{Until: at(3)}, "1 2 3"},
		"a range":                 {LetterFilter{Since: at(1), Until: at(3)}, "2 3"},
		"an empty range":          {LetterFilter{Since: at(3), Until: at(3)}, ""},
		"several":                 {LetterFilter{Actor: "x@a", Type: "T", Code: rpc.NotFound, NewestFirst: true}, "5 1"},
		"limited":                 {LetterFilter{Limit: 2}, "1 2"},
		"the next page":           {LetterFilter{Limit: 2, After: "node-2"}, "3 4"},
		"newest, limited":         {LetterFilter{Limit: 2, NewestFirst: true}, "5 4"},
		"newest, the next page":   {LetterFilter{Limit: 2, NewestFirst: true, After: "node-4"}, "3 2"},
		"after the last":          {LetterFilter{After: "node-5"}, ""},
		"after one to come":       {LetterFilter{After: "node-9"}, ""},
		"newest, after any":       {LetterFilter{NewestFirst: true, After: "node-9"}, "5 4 3 2 1"},
		"after one of elsewhere":  {LetterFilter{After: "edon-1"}, ""},
		"a page of a filter":      {LetterFilter{Limit: 1, After: "node-1", Actor: "x@a"}, "3"},
	} {
		if got := ids(s.list(row.f)); got != row.want {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
	s.remove(s.find("node-2"))
	if got := ids(s.list(LetterFilter{After: "node-2"})); got != "3 4 5" {
		t.Errorf("after one that has gone: %q", got)
	}
	if n := s.discard(LetterFilter{Actor: "x@a", Limit: 2}); n != 2 || ids(s.list(LetterFilter{})) != "4 5" {
		t.Errorf("%d discarded, %q left", n, ids(s.list(LetterFilter{})))
	}
	if n := s.discard(LetterFilter{ID: "node-4"}); n != 1 {
		t.Errorf("%d discarded by id", n)
	}
	if n := s.discard(LetterFilter{}); n != 1 || s.all.Len() != 0 || s.bytes != 0 || s.dropped != 0 {
		t.Errorf("%d discarded, %d bytes are left, %d dropped", n, s.bytes, s.dropped)
	}
}

func TestLetterPages(t *testing.T) {
	s := newLetters(5000, 1e6)
	for range 3000 {
		s.add(letterOf("", 1))
	}
	for limit, want := range map[int]int{-1: DefaultLetterPage, 0: DefaultLetterPage, 1: 1, MaxLetterPage: MaxLetterPage, MaxLetterPage + 1: MaxLetterPage} {
		if got := len(s.list(LetterFilter{Limit: limit})); got != want {
			t.Errorf("a limit of %d: %d letters, want %d", limit, got, want)
		}
	}
	if n := s.discard(LetterFilter{}); n != 3000 {
		t.Errorf("%d discarded", n)
	}
}

// What becomes of a letter, for each stage and each outcome.
func TestLetterStages(t *testing.T) {
	for _, row := range []struct {
		from   letterStage
		taken  letterStage
		free   bool
		notRun letterStage
	}{
		{letterKept, letterSending, true, letterKept},
		{letterUnclear, letterSendingAgain, true, letterUnclear},
		{letterSending, letterSending, false, 0},
		{letterSendingAgain, letterSendingAgain, false, 0},
	} {
		next, free := row.from.take()
		if next != row.taken || free != row.free {
			t.Errorf("%v taken: %v, %v", row.from, next, free)
		}
		if !free {
			continue
		}
		for ran, want := range map[rpc.Verdict]letterStage{rpc.NotRun: row.notRun, rpc.Unknown: letterUnclear} {
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
func TestLetterTake(t *testing.T) {
	const life = time.Minute
	begin := time.Unix(1000, 0)
	x, y, service := address{"x", "a"}, address{"y", "b"}, address{"s", anyNode}
	s := newLetters(10, 1000)
	put := func() string {
		l := letterOf("", 1)
		s.add(l)
		return l.ID
	}
	take := func(after time.Duration, id string, to address) (letterAttempt, error) {
		a, err := s.take(begin.Add(after), life, id, to)
		if err != nil {
			if rpc.Ran(err) != rpc.Unknown {
				t.Errorf("%v: %v", err, rpc.Ran(err))
			}
			return a, err
		}
		return a, nil
	}
	if _, err := take(0, "node-1", x); !errors.Is(err, ErrLetterGone) {
		t.Errorf("of no letter: %v", err)
	}
	id := put()
	a, err := take(0, id, address{})
	if err != nil || a.asked != x || a.at != (address{}) || a.epoch != "" {
		t.Errorf("to where it was addressed: %+v, %v", a, err)
	}
	if _, err := take(0, id, y); !errors.Is(err, ErrLetterBusy) {
		t.Errorf("while it is sent: %v", err)
	}
	if s.discard(LetterFilter{ID: id}) != 0 {
		t.Error("it was discarded while it was sent")
	}
	s.settle(a, rpc.NotRun, false)
	a, err = take(time.Second, id, service)
	if err != nil || a.asked != service {
		t.Errorf("after not run, elsewhere: %+v, %v", a, err)
	}
	a.at, a.epoch = y, "e1"
	s.settle(a, rpc.Unknown, true)
	for what, row := range map[string]struct {
		after time.Duration
		to    address
		err   error
	}{
		"elsewhere":          {2 * time.Second, x, ErrLetterUnclear},
		"the actor":          {2 * time.Second, y, nil},
		"the service":        {2 * time.Second, service, nil},
		"as before":          {2 * time.Second, address{}, nil},
		"just in time":       {time.Second + life - 1, y, nil},
		"too late":           {time.Second + life, y, ErrLetterUnclear},
		"much too late":      {time.Hour, address{}, ErrLetterUnclear},
		"elsewhere, at last": {time.Hour, x, ErrLetterUnclear},
	} {
		b, err := take(row.after, id, row.to)
		if !errors.Is(err, row.err) {
			t.Errorf("%s: %v, want %v", what, err, row.err)
		}
		if err == nil {
			if b.at != y || b.asked != service || b.epoch != "e1" || !b.expiry.Equal(begin.Add(time.Second+life)) {
				t.Errorf("%s: %+v", what, b)
			}
			s.settle(b, rpc.NotRun, false)
		}
	}
	if n := s.discard(LetterFilter{}); n != 1 {
		t.Errorf("%d unclear letters discarded", n)
	}
	id = put()
	a, _ = take(0, id, y)
	a.at = y
	s.settle(a, rpc.Unknown, false)
	if _, err := take(0, id, y); !errors.Is(err, ErrLetterUnclear) {
		t.Errorf("after an attempt without a key: %v", err)
	}
	id = put()
	a, _ = take(0, id, y)
	for range 20 {
		put() // pushes it out
	}
	dropped := s.dropped
	s.settle(a, rpc.NotRun, false)
	if s.find(id) != nil || s.all.Len() != 10 || s.bytes != 10 || s.dropped != dropped+1 {
		t.Errorf("a letter that was pushed out while it was sent is back; %d letters, %d bytes", s.all.Len(), s.bytes)
	}
	id = put()
	a, _ = take(0, id, y)
	for range 20 {
		put()
	}
	dropped = s.dropped
	if s.settle(a, rpc.HasRun, false); s.find(id) != nil || s.all.Len() != 10 || s.bytes != 10 || s.dropped != dropped {
		t.Errorf("a letter that was pushed out, and arrived: %d letters, %d bytes, %d dropped", s.all.Len(), s.bytes, s.dropped-dropped)
	}
}

// Whatever happens, the store keeps to its limits, counts right, and lets no letter be accepted
// twice by receivers that forget a key after a minute, and with their start.
func TestLettersAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newLetters(rapid.IntRange(0, 12).Draw(t, "letters"), rapid.IntRange(0, 120).Draw(t, "bytes"))
		now := time.Unix(0, 0)
		const life = time.Minute
		epochs := map[address]int{}
		type memory struct {
			epoch int
			until time.Time
		}
		accepted := map[string]int{}               // by id
		known := map[string]map[address][]memory{} // what receivers remember
		var open []letterAttempt                   // attempts that are under way
		owners := []string{"", "", "p", "q"}       // two of four are this node
		places := []address{{}, {"x", "a"}, {"y", "b"}}
		var given []string
		steps := rapid.IntRange(1, 80).Draw(t, "steps")
		for range steps {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				l := letterOf(rapid.SampledFrom(owners).Draw(t, "owner"), rapid.IntRange(1, 40).Draw(t, "size"))
				if s.add(l) {
					if slices.Contains(given, l.ID) {
						t.Fatalf("%s was given twice", l.ID)
					}
					given = append(given, l.ID)
				}
			case 2:
				if len(given) == 0 {
					continue
				}
				id := rapid.SampledFrom(given).Draw(t, "id")
				busy := slices.ContainsFunc(open, func(a letterAttempt) bool { return a.ID == id })
				a, err := s.take(now, life, id, rapid.SampledFrom(places).Draw(t, "to"))
				if err == nil && busy {
					t.Fatalf("%s is sent twice at a time", id)
				}
				if err == nil {
					if a.at == (address{}) {
						a.at = a.asked
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
				epoch := epochs[a.at]
				arrives := rapid.Bool().Draw(t, "arrives") && now.Before(a.expiry) && (a.epoch == "" || a.epoch == fmt.Sprint(epoch))
				said := rapid.Bool().Draw(t, "said")
				if arrives {
					if known[a.ID] == nil {
						known[a.ID] = map[address][]memory{}
					}
					if !slices.ContainsFunc(known[a.ID][a.at], func(m memory) bool { return m.epoch == epoch && now.Before(m.until) }) {
						if accepted[a.ID]++; accepted[a.ID] > 1 {
							t.Fatalf("%s was accepted twice", a.ID)
						}
						known[a.ID][a.at] = append(known[a.ID][a.at], memory{epoch, now.Add(life)})
					}
				}
				if a.epoch == "" {
					a.epoch = fmt.Sprint(epoch)
				}
				switch {
				case !said:
					s.settle(a, rpc.Unknown, true)
				case arrives:
					s.settle(a, rpc.HasRun, true)
				default:
					s.settle(a, rpc.NotRun, true)
				}
			case 4:
				now = now.Add(time.Duration(rapid.IntRange(1, 50).Draw(t, "seconds")) * time.Second)
				if rapid.Bool().Draw(t, "restart") {
					epochs[rapid.SampledFrom(places).Draw(t, "where")]++
				}
			case 5:
				s.discard(LetterFilter{Limit: rapid.IntRange(0, 3).Draw(t, "limit"), NewestFirst: rapid.Bool().Draw(t, "newest")})
			}
			checkLetters(t, s)
		}
	})
}

// checkLetters checks the counts and limits of a store.
func checkLetters(t *rapid.T, s *letterStore) {
	bytes, owned := 0, map[string][2]int{}
	last := uint64(0)
	for e := s.all.Front(); e != nil; e = e.Next() {
		l := e.Value.(*letter)
		bytes += l.size
		owned[l.owner] = [2]int{owned[l.owner][0] + 1, owned[l.owner][1] + l.size}
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
