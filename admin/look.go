package admin

import (
	"cmp"
	"encoding/json"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/rpc"
)

// limit returns how many entries a page has for which a question says n.
func limit(n int) int {
	if n <= 0 {
		return DefaultPage
	}
	return min(n, MaxPage)
}

// page returns the entries after a name, of all, which are in order. next is where the next page begins.
func page[T any](all []T, name func(T) string, after string, n int) (part []T, next string) {
	from, found := slices.BinarySearchFunc(all, after, func(e T, after string) int { return strings.Compare(name(e), after) })
	for found && from < len(all) && name(all[from]) == after {
		from++
	}
	n = min(limit(n), len(all)-from)
	if part = all[from : from+n]; from+n < len(all) {
		next = name(part[n-1])
	}
	return part, next
}

func (d *desk) node(asked, Node) (NodeInfo, error) {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	info := NodeInfo{Started: d.opened, GoVersion: runtime.Version(), CPUs: runtime.GOMAXPROCS(0), Goroutines: runtime.NumGoroutine(),
		Heap: heap[0].Value.Uint64(), Stats: d.sys.Stats()}
	if d.cfg.Level != nil {
		info.Level = d.cfg.Level.Level().String()
	}
	all := d.sys.Members()
	info.Member = all[slices.IndexFunc(all, func(m inspect.Member) bool { return m.Name == d.sys.Name() })]
	return info, nil
}

// mostBusy is how many actors an overview has.
const mostBusy = 20

func (d *desk) overview(a asked, _ Overview) (i OverviewInfo, err error) {
	if i.NodeInfo, err = d.node(a, Node{}); err != nil {
		return i, err
	}
	i.Peers = d.sys.Peers()
	i.Peers = i.Peers[:min(len(i.Peers), MaxPage)]
	services := d.sys.Services()
	i.Services = services[:0]
	room := MaxPage
	for _, s := range services {
		if room -= len(s.Instances); (s.Used || len(i.Member.Services[s.Name]) > 0) && room >= 0 {
			i.Services = append(i.Services, s)
		}
	}
	busy := func(yield func(inspect.Actor) bool) {
		d.sys.Actors(inspect.Filter{})(func(a inspect.Actor) bool { return a.For == 0 || yield(a) })
	}
	i.Busy, _ = first(mostBusy, busy, orders["busy"])
	i.Jobs = len(d.sys.Jobs("", MaxPage))
	q, err := d.queues(a, Queues{Limit: MaxPage})
	i.Queues = q.Queues
	return i, err
}

func (d *desk) members(_ asked, m Members) (i MembersInfo, _ error) {
	i.Members, i.Next = page(d.sys.Members(), func(m inspect.Member) string { return m.Name }, m.After, m.Limit)
	return i, nil
}

func (d *desk) peers(_ asked, m Peers) (i PeersInfo, _ error) {
	i.Peers, i.Next = page(d.sys.Peers(), func(p inspect.Peer) string { return p.Node }, m.After, m.Limit)
	return i, nil
}

func (d *desk) sessions(_ asked, m Sessions) (i SessionsInfo, _ error) {
	i.Sessions, i.Next = page(d.sys.Sessions(), func(s inspect.Session) string { return s.Node + "/" + s.ID }, m.After, m.Limit)
	return i, nil
}

func (d *desk) services(_ asked, m Services) (i ServicesInfo, err error) {
	all := d.sys.Services()
	if m.Name != "" {
		all = slices.DeleteFunc(all, func(s inspect.Service) bool { return s.Name != m.Name })
		if len(all) == 0 {
			return i, rpc.Errorf(rpc.NotFound, rpc.NotRun, "no service %q", m.Name)
		}
	}
	i.Services, i.Next = page(all, func(s inspect.Service) string { return s.Name }, m.After, m.Limit)
	room := limit(m.Limit)
	for n, s := range i.Services {
		if room -= len(s.Instances); room < 0 && n > 0 {
			i.Services, i.Next = i.Services[:n], i.Services[n-1].Name
			break
		}
	}
	return i, nil
}

// orders are those of actors in which the first ones are those that somebody should look at.
var orders = map[string]func(a, b inspect.Actor) int{
	"busy":    func(a, b inspect.Actor) int { return cmp.Compare(b.For, a.For) },
	"waiting": func(a, b inspect.Actor) int { return cmp.Compare(b.Waiting, a.Waiting) },
	"failed":  func(a, b inspect.Actor) int { return cmp.Compare(b.Failed, a.Failed) },
}

func (d *desk) actors(_ asked, m Actors) (i ActorsInfo, _ error) {
	all := d.sys.Actors(inspect.Filter{Kind: m.Kind, Prefix: m.Prefix, Stage: m.Stage})
	n, by := limit(m.Limit), orders[m.By]
	switch {
	case by != nil:
		i.Actors, i.Seen = first(n, all, by)
		return i, nil
	case m.By != "" && m.By != "name":
		return i, rpc.Errorf(rpc.Invalid, rpc.NotRun, "By %q: want name, busy, waiting or failed", m.By)
	}
	i.Actors, i.Seen = first(n, func(yield func(inspect.Actor) bool) {
		all(func(a inspect.Actor) bool { return a.Name <= m.After || yield(a) })
	}, func(a, b inspect.Actor) int { return 0 })
	if i.Seen > n {
		i.Next = i.Actors[n-1].Name
	}
	return i, nil
}

// first returns the first n in an order, and how many there are. It keeps 2n at a time.
func first(n int, all func(func(inspect.Actor) bool), by func(a, b inspect.Actor) int) (best []inspect.Actor, seen int) {
	order := func(a, b inspect.Actor) int { return cmp.Or(by(a, b), strings.Compare(a.Name, b.Name)) }
	cut := func() {
		slices.SortFunc(best, order)
		best = best[:min(n, len(best))]
	}
	all(func(a inspect.Actor) bool {
		seen++
		if best = append(best, a); len(best) >= 2*n {
			cut()
		}
		return true
	})
	cut()
	return best, seen
}

func (d *desk) actor(a asked, m Actor) (inspect.Actor, error) {
	return d.sys.Inspect(a, d.sys.Ref(m.Name+"@"+d.sys.Name()))
}

func (d *desk) jobs(_ asked, m Jobs) (i JobsInfo, _ error) {
	n := limit(m.Limit)
	if i.Jobs = d.sys.Jobs(m.After, n); len(i.Jobs) == n {
		i.Next = i.Jobs[n-1].ID
	}
	return i, nil
}

func (d *desk) topics(_ asked, m Topics) (i TopicsInfo, _ error) {
	i.Topics, i.Next = page(d.sys.Topics(), func(t inspect.Topic) string { return t.Pattern + "\x00" + t.Group + "\x00" + t.Type }, m.After, m.Limit)
	return i, nil
}

// filter is the filter of package deadletter.
func (f LetterFilter) filter() (deadletter.Filter, error) {
	to := deadletter.Filter{ID: f.ID, Actor: f.Actor, Type: f.Type, Since: f.Since, Until: f.Until}
	if f.Code != "" {
		code, ok := rpc.ParseCode(f.Code)
		if !ok {
			return to, rpc.Errorf(rpc.Invalid, rpc.NotRun, "no code %q", f.Code)
		}
		to.Code = code
	}
	return to, nil
}

func (d *desk) letters(_ asked, m Letters) (i LettersInfo, err error) {
	f, err := m.filter()
	if err != nil {
		return i, err
	}
	f.NewestFirst, f.After, f.Limit = m.NewestFirst, m.After, limit(m.Limit)
	for _, l := range d.sys.KeptLetters(f) {
		i.Letters = append(i.Letters, Letter{ID: l.ID, Time: l.Time, To: l.To, From: l.From, Type: l.Type, Code: rpc.CodeOf(l.Reason).String(), Reason: l.Reason.Error(), Size: l.Size, State: string(l.State)})
	}
	if len(i.Letters) == f.Limit {
		i.Next = i.Letters[f.Limit-1].ID
	}
	return i, nil
}

func (d *desk) requests(_ asked, m Requests) (i RequestsInfo, _ error) {
	n := limit(m.Limit)
	for r := range d.sys.Requests(m.RequestFilter) {
		if m.Before != 0 && r.Number >= m.Before {
			continue
		}
		if len(i.Requests) == n {
			i.Next = i.Requests[n-1].Number
			break
		}
		i.Requests = append(i.Requests, r)
	}
	return i, nil
}

func (d *desk) why(a asked, m Why) (inspect.Life, error) {
	if m.Whole {
		return d.sys.WhyAll(a, m.ID)
	}
	steps, err := d.sys.Why(a, m.ID)
	return inspect.Life{Steps: steps, More: len(steps) == inspect.MaxSteps}, err
}

func (d *desk) settings(asked, Settings) (i SettingsInfo, _ error) {
	if d.cfg.Settings == nil {
		return i, nil
	}
	i.Watched = true
	if err := d.cfg.Settings.Away(); err != nil {
		i.Away = err.Error()
	}
	for _, s := range d.cfg.Settings.Applied() {
		e := Section{Key: s.Key.String(), InForce: s.InForce}
		if v := s.Applied; v != nil {
			e.Revision, e.Author, e.Note, e.Time = v.Revision, v.Author, v.Note, v.Time
			if text, err := json.Marshal(v.Value); err == nil {
				e.Value = text
			}
		}
		if s.Refused != nil {
			e.Refused = s.Refused.Err.Error()
		}
		i.Sections = append(i.Sections, e)
	}
	return i, nil
}

func (d *desk) access(asked, Access) (i AccessInfo, err error) {
	i.Rules, err = json.Marshal(d.sys.Access())
	return i, err
}

func (d *desk) recentEvents(a asked, m Events) (EventsInfo, error) {
	return d.events.after(a, m.After, limit(m.Limit), min(max(m.Wait, 0), 20*time.Second)), nil
}
