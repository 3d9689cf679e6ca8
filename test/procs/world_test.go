//go:build unix

package procs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/test/ports"
)

const (
	enough       = 25               // answers after an injection that show the system to be well again
	recoverLimit = 15 * time.Second // within which they must have come
	slack        = 5 * time.Second  // that a caller may learn late of its deadline, for machines that are slow
	settle       = time.Second      // after the last request, for copies that are late
)

// world is the processes of one run, and their referee.
type world struct {
	fault  fault
	dir    string
	r      *rand.Rand
	role   role // what all roles share
	judge  *judge
	files  []*reader
	proxy  *proxy
	nodes  [3]*natsNode
	a, b   *child
	client *child
	cpu    time.Duration // of the children that have ended

	answers int           // that well has waited for
	waited  time.Duration // that it took them
}

// natsNode is one of the cluster, at the same place in all its starts.
type natsNode struct {
	*child
	role role
}

func (n *natsNode) url() string { return "nats://127.0.0.1:" + strconv.Itoa(n.role.Port) }

func newWorld(f fault, dir string, seed uint64, c cheat) *world {
	return &world{fault: f, dir: dir, r: rand.New(rand.NewPCG(seed, 0)), judge: newJudge(slack+f.longest, f.kills),
		role: role{Dir: dir, Seed: seed, Cheat: c, BusOnly: f.busOnly, Panics: f.panics, Records: f.records}}
}

// start starts all processes.
func (w *world) start() (err error) {
	if err := os.Mkdir(filepath.Join(w.dir, commitsDir), 0o700); err != nil {
		return err
	}
	for _, name := range []string{askedFile, ranFile, movesFile} {
		f, err := openReader(w.dir, name)
		if err != nil {
			return err
		}
		w.files = append(w.files, f)
	}
	if w.proxy, err = newProxy(); err != nil {
		return err
	}
	if err := w.startBus(); err != nil {
		return err
	}
	if w.b, err = spawn(w.server(nodeB, serverB)); err != nil {
		return err
	}
	if err := w.startA(); err != nil {
		return err
	}
	return w.startClient()
}

// startBus starts the NATS cluster.
func (w *world) startBus() error {
	var routes []string
	for i := range w.nodes {
		r := w.role
		r.Kind, r.Name = "nats", "nats-"+strconv.Itoa(i)
		r.Port, r.Route = ports.Free(), ports.Free()
		routes = append(routes, "nats://127.0.0.1:"+strconv.Itoa(r.Route))
		w.nodes[i] = &natsNode{role: r}
	}
	errs := make(chan error)
	for _, n := range w.nodes {
		n.role.Routes = routes
		go func() { errs <- n.start() }()
	}
	return errors.Join(<-errs, <-errs, <-errs)
}

func (n *natsNode) start() (err error) {
	n.role.Life++
	n.child, err = spawn(n.role)
	return err
}

// node is the role of a Tandem node that knows the given NATS nodes.
func (w *world) node(kind, name string, who who, bus []int) role {
	r := w.role
	r.Kind, r.Name, r.Who = kind, name, who
	for _, i := range bus {
		r.Bus = append(r.Bus, w.nodes[i].url())
	}
	return r
}

func (w *world) server(name string, who who) role {
	return w.node("server", name, who, nodes(w.fault.servers, 1, 2, 0))
}

// startA starts the server that suffers the faults, for the first time or again.
func (w *world) startA() (err error) {
	r := w.server(nodeA, serverA)
	r.Life = w.lives(w.a)
	if w.a, err = spawn(r); err == nil {
		w.proxy.lead(w.a.ready)
	}
	return err
}

func (w *world) startClient() (err error) {
	r := w.node("client", "client", theClient, nodes(w.fault.client, 0, 1, 2))
	r.Life = w.lives(w.client)
	r.Nodes = []registry.Node{
		{Name: nodeA, Addrs: map[string]string{"tcp": w.proxy.addr()}, Services: map[string][]string{crew: {"quick"}}},
		{Name: nodeB, Addrs: map[string]string{"tcp": w.b.ready}, Services: map[string][]string{crew: {"quick"}}},
	}
	w.client, err = spawn(r)
	return err
}

// lives is the number of the start that comes after c.
func (w *world) lives(c *child) uint16 {
	if c == nil {
		return 1
	}
	return c.life + 1
}

// look reads what has come, and sees to it that nobody has died of himself.
func (w *world) look() error {
	for _, f := range w.files {
		if err := f.read(w.judge.take); err != nil {
			return err
		}
	}
	for _, c := range w.children() {
		if c.died() {
			return fmt.Errorf("%s ended of itself: %v; %s", c.name, c.err, c.lastWords())
		}
	}
	return nil
}

func (w *world) children() (all []*child) {
	for _, c := range []*child{w.a, w.b, w.client} {
		if c != nil {
			all = append(all, c)
		}
	}
	for _, n := range w.nodes {
		if n != nil && n.child != nil {
			all = append(all, n.child)
		}
	}
	return all
}

// await looks until ok.
func (w *world) await(what string, ok func() bool) error {
	for limit := time.Now().Add(recoverLimit); ; time.Sleep(2 * time.Millisecond) {
		if err := w.look(); err != nil {
			return err
		}
		if ok() {
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("after %v: %s", recoverLimit, what)
		}
	}
}

// well waits until the server under fault has answered requests that were made after now.
func (w *world) well() error {
	start := time.Now()
	w.judge.markNow()
	err := w.await("the server under fault does not answer", func() bool { return w.judge.fresh >= enough })
	w.answers += w.judge.fresh
	w.waited += time.Since(start)
	return err
}

// run makes n injections.
func (w *world) run(n int) error {
	if err := w.well(); err != nil {
		return err
	}
	for i := range n {
		time.Sleep(w.span(0, 20*time.Millisecond)) // no fault at the same moment of the load each time
		err := w.look()
		if err == nil {
			err = w.fault.inject(w, i)
		}
		if err != nil {
			return fmt.Errorf("injection %d: %w", i, err)
		}
		if err := w.well(); err != nil {
			return fmt.Errorf("after injection %d: %w", i, err)
		}
	}
	w.judge.quiet.end()
	return nil
}

// begin says that a fault begins now.
func (w *world) begin() {
	now := time.Now()
	w.judge.quiet.begin(now)
	w.judge.change.begin(now)
}

// end ends all processes in good order, the client first, and has the judge decide.
func (w *world) end() error {
	errs := []error{w.client.end()}
	time.Sleep(settle)
	errs = append(errs, w.a.end(), w.b.end(), w.look())
	for _, f := range w.files {
		if len(f.rest) > 0 {
			errs = append(errs, errors.New("a torn record"))
		}
	}
	errs = append(errs, commits{w.dir}.read(map[string]bool{}, w.judge.take))
	w.judge.decide()
	return errors.Join(errs...)
}

// kill kills a process, and counts what it has used.
func (w *world) kill(c *child) {
	c.kill()
	w.cpu += c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
}

// close ends what still runs.
func (w *world) close() {
	for _, c := range w.children() {
		w.kill(c)
	}
	if w.proxy != nil {
		w.proxy.close()
	}
	for _, f := range w.files {
		f.f.Close()
	}
}

// span draws a time.
func (w *world) span(from, to time.Duration) time.Duration {
	return from + time.Duration(w.r.Int64N(int64(to-from)))
}
