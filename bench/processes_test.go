package main

import (
	"strings"
	"testing"
	"time"
)

func TestProcesses(t *testing.T) {
	for _, madeOf := range []string{nodeOfTandem, nodeOfRaw} {
		t.Run(madeOf, func(t *testing.T) {
			p, err := startProcesses(madeOf, 3, 5)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			for asked := 0; asked < 2; { // on a busy machine no caller may have had its turn
				s := perCPU{p}.measure(time.Millisecond)
				if s.err == nil && s.sent == 0 {
					continue
				}
				asked++
				if s.err != nil || s.sent != s.executed || s.ops != s.sent || s.lat.n == 0 || s.elapsed < time.Millisecond {
					t.Errorf("sent %d, executed %d, ops %d, timed %d in %v (%v)", s.sent, s.executed, s.ops, s.lat.n, s.elapsed, s.err)
				}
				if s.cpu <= 0 || s.allocs == 0 || s.values[opsPerCPU] != float64(s.ops)/s.cpu.Seconds() {
					t.Errorf("%v of CPU, %d allocations, %v", s.cpu, s.allocs, s.values)
				}
			}
		})
	}
}

// A node ends when its standard input does, also in the middle of an order.
func TestNodeEndsWithItsParent(t *testing.T) {
	p, err := startProcesses(nodeOfRaw, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	asking := make(chan error, 1)
	go func() {
		_, err := p[0].obey(order{Ask: time.Hour})
		asking <- err
	}()
	if _, err := p[1].obey(order{}); err != nil {
		t.Error(err)
	}
	p.close()
	if err := <-asking; err == nil {
		t.Error("an order for an hour was carried out")
	}
	for _, c := range p {
		if c.cmd.ProcessState == nil || !c.cmd.ProcessState.Exited() {
			t.Errorf("%s: %v", c.name, c.cmd.ProcessState)
		}
	}
}

func TestNodeSaysWhatIsWrong(t *testing.T) {
	p, err := startProcesses("nothing", 1, 1)
	if err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("%v, %v", p, err)
	}
}

// A node that died is an error of the measurement.
func TestDeadNode(t *testing.T) {
	p, err := startProcesses(nodeOfRaw, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	p[1].in.Close()
	if _, err := p[1].read(timeout); err == nil {
		t.Fatal("it still reports")
	}
	if s := p.measure(time.Millisecond); s.errors == 0 || s.err == nil {
		t.Errorf("%d errors: %v", s.errors, s.err)
	}
}

func TestSampleOf(t *testing.T) {
	var fast, slow histogram
	fast.add(time.Microsecond)
	slow.add(time.Second)
	s := sampleOf([]report{{Executed: 1, CPU: 10, Allocs: 100, Bytes: 1000}, {}},
		[]report{{Sent: 3, Ops: 2, Errors: 1, Elapsed: 5, Lat: fast.counts()}, {Sent: 4, Ops: 4, Elapsed: 7, Lat: slow.counts()}},
		[]report{{Executed: 4, CPU: 11, Allocs: 102, Bytes: 1003}, {Executed: 4, CPU: 2, Allocs: 3, Bytes: 4}})
	if s.sent != 7 || s.ops != 6 || s.errors != 1 || s.executed != 7 || s.elapsed != 7 || s.costs != (costs{3, 5, 7}) {
		t.Errorf("%+v of %d", s.costs, s.ops)
	}
	if s.lat.n != 2 || s.lat.quantile(0) != fast.quantile(0) || s.lat.quantile(1) != slow.quantile(1) {
		t.Errorf("%d times, %v to %v", s.lat.n, s.lat.quantile(0), s.lat.quantile(1))
	}
}
