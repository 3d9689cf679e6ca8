package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tandem-go/tandem/registry"
)

// The cluster of scenario tcp-ask-64-processes.
const (
	clusterNodes   = 4
	clusterCallers = 64 // of each node, shared among the others
)

// opsPerCPU is what the rows of tcp-ask-64-processes are compared by: more processes than
// CPUs share them, and the clock would say how the kernel divides them.
const opsPerCPU = "ops_per_cpu_s"

func tcpAskProcesses() scenario {
	cluster := func(madeOf string) func(*env) (rig, error) {
		return func(*env) (rig, error) {
			p, err := startProcesses(madeOf, clusterNodes, clusterCallers)
			if err != nil {
				return nil, err
			}
			return perCPU{p}, nil
		}
	}
	return scenario{
		name: "tcp-ask-64-processes",
		about: fmt.Sprintf("%d nodes in as many processes, each with %d callers that ask the actors of all others; 64 bytes there and back over loopback TCP",
			clusterNodes, clusterCallers),
		peers: []peer{
			{name: "tandem", role: ours, note: "all columns are sums over the processes", start: cluster(nodeOfTandem)},
			{name: "tandem-one-process", role: variant, note: "64 callers and the actor in one process, as in tcp-ask-64", start: func(*env) (rig, error) {
				n, err := overTCP()
				if err != nil {
					return nil, err
				}
				r, err := n.asks(64, 64)
				return perCPU{r}, err
			}},
			{name: "raw-one-process", role: variant, note: "64 callers and raw-actor in one process, as in tcp-ask-64", start: func(*env) (rig, error) {
				r, err := rawActorAsks(64, 64)
				return perCPU{r}, err
			}},
			{name: "raw-processes", role: limit, note: "the same processes with raw-actor in place of Tandem", start: cluster(nodeOfRaw)},
		},
	}
}

// perCPU says also how many operations a second of CPU time was enough for.
type perCPU struct{ rig }

func (p perCPU) measure(d time.Duration) sample {
	s := withCosts(func() sample { return p.rig.measure(d) })
	if s.cpu > 0 {
		s.values = map[string]float64{opsPerCPU: float64(s.ops) / s.cpu.Seconds()}
	}
	return s
}

// processes is a rig of nodes, each in a process of its own.
type processes []*child

// A child is a process that was started, and is a node. It obeys one order after the
// other.
type child struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	enc  *json.Encoder
	dec  *json.Decoder
}

func startProcesses(madeOf string, n, callers int) (_ processes, err error) {
	var p processes
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	var nodes []registry.Node
	for i := range n {
		c, node, err := startChild(madeOf, "n"+strconv.Itoa(i))
		if c != nil {
			p = append(p, c)
		}
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, node)
	}
	for i, c := range p { // one by one, or two could dial each other and have two links
		if _, err := c.obey(order{Join: slices.Concat(nodes[:i], nodes[i+1:]), Callers: callers}); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// startChild starts this program again, as a node. If there is a child, it must be closed.
func startChild(madeOf, name string) (*child, registry.Node, error) {
	var none registry.Node
	program, err := os.Executable()
	if err != nil {
		return nil, none, err
	}
	c := &child{name: name, cmd: exec.Command(program, nodeFlag, madeOf, name)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, none, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, none, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, none, err
	}
	c.enc, c.dec = json.NewEncoder(c.in), json.NewDecoder(out)
	r, err := c.read(timeout)
	if err == nil && r.Node == nil {
		err = fmt.Errorf("node %s has not said where it is", name)
	}
	if err != nil {
		return c, none, err
	}
	return c, *r.Node, nil
}

// obey has the child carry out an order. It may be called for several children at once.
func (c *child) obey(o order) (report, error) {
	if err := c.enc.Encode(o); err != nil {
		return report{}, fmt.Errorf("node %s: %w", c.name, err)
	}
	return c.read(o.Ask + 2*timeout)
}

// read returns the next report. A child that takes longer than patience is killed.
func (c *child) read(patience time.Duration) (r report, err error) {
	late := time.AfterFunc(patience, func() { c.cmd.Process.Kill() })
	defer late.Stop()
	if err = c.dec.Decode(&r); err == nil && r.Err != "" {
		err = errors.New(r.Err)
	}
	if err != nil {
		err = fmt.Errorf("node %s: %w", c.name, err)
	}
	return r, err
}

// all has all children obey the same order at the same time. The reports are as many as the children,
// also if there is an error.
func (p processes) all(o order) ([]report, error) {
	reports, errs := make([]report, len(p)), make([]error, len(p))
	var ended sync.WaitGroup
	for i, c := range p {
		ended.Go(func() { reports[i], errs[i] = c.obey(o) })
	}
	ended.Wait()
	return reports, errors.Join(errs...)
}

// measure takes what was executed and what it cost from before the first node asks until
// after the last one has: some ask a little longer than others.
func (p processes) measure(d time.Duration) sample {
	before, err := p.all(order{Collect: true})
	if err != nil {
		return sample{errors: 1, err: err}
	}
	asked, failing := p.all(order{Ask: d})
	after, err := p.all(order{})
	out := sampleOf(before, asked, after)
	if err := errors.Join(failing, err); err != nil {
		out.errors, out.err = max(out.errors, 1), err
	}
	return out
}

// sampleOf adds up what the nodes reported.
func sampleOf(before, asked, after []report) (out sample) {
	for i, r := range asked {
		out.sent += r.Sent
		out.ops += r.Ops
		out.errors += r.Errors
		out.elapsed = max(out.elapsed, r.Elapsed)
		out.lat.addCounts(r.Lat)
		out.executed += after[i].Executed - before[i].Executed
		out.cpu += after[i].CPU - before[i].CPU
		out.allocs += after[i].Allocs - before[i].Allocs
		out.bytes += after[i].Bytes - before[i].Bytes
	}
	return out
}

// close ends all children, and waits for them.
func (p processes) close() {
	for _, c := range p {
		c.in.Close()
	}
	for _, c := range p {
		late := time.AfterFunc(timeout, func() { c.cmd.Process.Kill() })
		c.cmd.Wait() // how it ended does not matter any more
		late.Stop()
	}
}
