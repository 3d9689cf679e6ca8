//go:build unix

package procs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/test/ports"
)

// town is the processes of one run about a service's life: NATS nodes, the instances of a
// service, and one client.
type town struct {
	role   role
	r      *rand.Rand
	nats   []*natsNode
	procs  map[string]*child
	lives  map[string]uint16
	files  []*reader
	ledger *ledger
}

func newTown(dir string, seed uint64) (*town, error) {
	t := &town{r: rand.New(rand.NewPCG(seed, 1)), ledger: newLedger(), procs: map[string]*child{}, lives: map[string]uint16{},
		role: role{Dir: dir, Seed: seed, Service: &service{}}}
	for _, name := range []string{askedFile, ranFile} {
		f, err := openReader(dir, name)
		if err != nil {
			return nil, err
		}
		t.files = append(t.files, f)
	}
	return t, nil
}

// plan makes the roles of n NATS nodes, which are not started.
func (t *town) plan(n int) {
	var routes []string
	for i := range n {
		r := t.role
		r.Kind, r.Name, r.Port, r.Route = "nats", natsName(strconv.Itoa(i)), ports.Free(), ports.Free()
		routes = append(routes, "nats://127.0.0.1:"+strconv.Itoa(r.Route))
		t.nats = append(t.nats, &natsNode{role: r})
	}
	for _, n := range t.nats {
		n.role.Routes = routes
	}
	for _, n := range t.nats {
		t.role.Bus = append(t.role.Bus, n.url())
	}
}

// natsName is the name of a NATS node.
func natsName(i string) string { return "nats-" + i }

// startNATS starts what was planned.
func (t *town) startNATS() error {
	errs := make(chan error)
	for _, n := range t.nats {
		go func() { errs <- n.start() }()
	}
	var all error
	for range t.nats {
		all = errors.Join(all, <-errs)
	}
	return all
}

// node is the role of a process, which s describes.
func (t *town) node(kind, name string, s service, known []registry.Node) role {
	r := t.role
	r.Kind, r.Name, r.Service, r.Nodes = kind, name, &s, known
	t.lives[name]++
	r.Life = t.lives[name]
	return r
}

// start starts a process and waits until it is ready.
func (t *town) start(r role) error {
	c, err := spawn(r)
	if err == nil {
		t.procs[r.Name] = c
	}
	return err
}

// look reads what has come, and sees to it that nobody has died of himself.
func (t *town) look() error {
	for _, f := range t.files {
		if err := f.read(t.ledger.take); err != nil {
			return err
		}
	}
	for _, c := range t.procs {
		if c.died() {
			return fmt.Errorf("%s ended of itself: %v; %s", c.name, c.err, c.lastWords())
		}
	}
	return nil
}

// await looks until ok.
func (t *town) await(within time.Duration, what string, ok func() bool) error {
	for limit := time.Now().Add(within); ; time.Sleep(2 * time.Millisecond) {
		if err := t.look(); err != nil {
			return err
		}
		if ok() {
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("after %v: %s", within, what)
		}
	}
}

// more waits for the ends of n further calls.
func (t *town) more(n int, within time.Duration) error {
	if err := t.look(); err != nil {
		return err
	}
	enough := t.ledger.done + n
	return t.await(within, fmt.Sprintf("there were not %d further calls", n), func() bool { return t.ledger.done >= enough })
}

// end ends the client, which waits for outstanding calls, and then all others.
func (t *town) end(client string) error {
	errs := []error{t.procs[client].end()}
	delete(t.procs, client)
	for name, c := range t.procs {
		errs = append(errs, c.end())
		delete(t.procs, name)
	}
	return errors.Join(append(errs, t.look())...)
}

// close ends what still runs.
func (t *town) close() {
	for _, c := range t.procs {
		c.kill()
	}
	for _, n := range t.nats {
		if n.child != nil {
			n.kill()
		}
	}
	for _, f := range t.files {
		f.f.Close()
	}
}
