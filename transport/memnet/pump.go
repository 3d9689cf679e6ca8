package memnet

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// pump sends the queued envelopes, one at a time, until the link ends. The last parcel that it
// sends tells the other end that nothing more comes.
func (e *end) pump() {
	defer e.t.tasks.Done()
	defer close(e.pumped)
	var spare []byte
	for {
		last := isClosed(e.finishing) // checked before Take, because nothing is queued once it is true
		frames, at, drained := e.out.Take(spare)
		spare = frames
		if drained {
			e.recv.Drained()
		}
		for len(frames) > 0 {
			n := 4 + int(binary.BigEndian.Uint32(frames))
			if !e.roomToSend() {
				e.sendFin()
				return
			}
			at += uint64(n)
			e.taken.Store(at)
			e.sendFrame(slices.Clone(frames[4:n]))
			frames = frames[n:]
		}
		if last && len(spare) == 0 && e.out.Empty() {
			e.sendFin()
			e.Close(fmt.Errorf("%w: transport closed", transport.ErrClosed))
			return
		}
		if len(spare) > 0 {
			continue
		}
		finishing := e.finishing
		if last { // and the peer does not have all of a large message
			finishing = nil
		}
		var overdue <-chan time.Time
		switch silence, waiting := e.out.Silence(); {
		case e.t.direct: // loses nothing
		case silence >= transport.ResendAfter:
			e.out.Resend()
		case waiting:
			overdue = time.After(transport.ResendAfter - silence)
		}
		select {
		case <-e.out.Wake():
		case <-finishing:
		case <-overdue:
		case <-e.disturbed:
			e.recv.Disturbed()
		case <-e.done:
			e.sendFin()
			return
		}
	}
}

// roomToSend waits until one more envelope may be sent. It returns false if the link ended.
func (e *end) roomToSend() bool {
	for !isClosed(e.done) {
		bytes, dead := e.far.in.load()
		if !e.t.direct || dead || bytes < e.t.net.cfg.Window {
			return true
		}
		select {
		case <-e.far.in.room:
		case <-e.disturbed:
			e.recv.Disturbed()
		case <-e.done:
		}
	}
	return false
}

// fate holds the random numbers that decide about one envelope. All of them are drawn for every
// envelope, so that the faults of one do not depend on which faults are set for another.
type fate struct{ delay, drop, duplicate, again, reorder, late, kill float64 }

func (e *end) drawFate() fate {
	d := e.draw.Float64
	return fate{d(), d(), d(), d(), d(), d(), d()}
}

// sendFrame sends one envelope, subject to the faults that are set.
func (e *end) sendFrame(frame []byte) {
	e.t.net.frames.Add(1)
	var (
		f, b, _ = e.t.net.state(e.t.road, e.t.local.Node, e.peer.Node)
		fate    = e.drawFate()
		now     = time.Now()
		due     = now.Add(f.delay(fate.delay))
	)
	bytes, dead := e.far.in.load()
	switch {
	case e.t.direct && fate.kill < f.Kill:
		e.Close(fmt.Errorf("%w: killed", transport.ErrClosed))
		e.far.Close(fmt.Errorf("%w: killed", transport.ErrClosed))
	case !e.t.direct && f.NoResponders, !e.t.direct && dead && b == passing:
		e.Close(fmt.Errorf("%w: no responders for %s", transport.ErrNoPeer, e.peer.Node))
	case dead && b == passing:
		e.Close(fmt.Errorf("%w: reset by the peer", transport.ErrClosed))
	case dead:
	case e.t.direct:
		e.far.in.put(parcel{due: due, frame: frame}, true)
	case b == cut, fate.drop < f.Drop:
	case bytes > busPending:
		e.far.disturb()
	case fate.reorder < f.Reorder:
		by := f.ReorderBy
		if by == 0 {
			by = 10 * time.Millisecond
		}
		e.far.in.put(parcel{due: due.Add(time.Duration(fate.late * float64(by))), frame: frame}, false)
	default:
		e.far.in.put(parcel{due: due, frame: frame}, true)
		if fate.duplicate < f.Duplicate {
			e.far.in.put(parcel{due: now.Add(f.delay(fate.again)), frame: frame}, true)
		}
	}
}

// delay returns how long a message is in flight, for a random number x between 0 and 1.
func (f Faults) delay(x float64) time.Duration {
	return f.MinDelay + time.Duration(x*float64(max(f.MaxDelay-f.MinDelay, 0)))
}

// sendFin tells the other end that nothing more comes. A bus may lose that.
func (e *end) sendFin() {
	f, b, _ := e.t.net.state(e.t.road, e.t.local.Node, e.peer.Node)
	fate := e.drawFate()
	if !e.t.direct && (b == cut || fate.drop < f.Drop) {
		return
	}
	e.far.in.put(parcel{due: time.Now().Add(f.delay(fate.delay)), fin: true}, true)
}

// deliver receives what arrives until the link ends.
func (e *end) deliver() {
	defer e.t.tasks.Done()
	e.Close(e.receiveAll())
	<-e.pumped
	e.in.kill()
	e.recv.Closed(e.cause)
	e.t.net.mu.Lock()
	delete(e.t.net.links, e)
	e.t.net.mu.Unlock()
}

func (e *end) receiveAll() error {
	defer e.recv.Flush()
	var env transport.Envelope
	for {
		p, ok := e.next()
		switch {
		case !ok:
			return e.cause
		case p.fin:
			return fmt.Errorf("%w by the peer", transport.ErrClosed)
		}
		if err := env.Parse(p.frame); err != nil {
			return err
		}
		if err := e.large.Deliver(&env, e.out, e.recv); err != nil {
			return err
		}
	}
}

// next waits for a parcel that may arrive, and takes it. It returns false if the link ended.
func (e *end) next() (parcel, bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !isClosed(e.done) {
		_, b, changed := e.t.net.state(e.t.road, e.peer.Node, e.t.local.Node)
		var due <-chan time.Time
		if first, ok := e.in.first(); ok && (b == passing || b == cut && !e.t.direct) {
			p, ok := e.in.take(time.Now())
			if ok && b == passing {
				return p, true
			}
			if ok {
				continue // the receiver was cut off from the bus meanwhile
			}
			timer.Reset(time.Until(first.due))
			due = timer.C
		}
		e.recv.Flush()
		select {
		case <-due:
		case <-e.in.arrived:
		case <-changed:
		case <-e.done:
		}
	}
	return parcel{}, false
}
