package rpc

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-go/tandem/dedup"
)

// checkEvery is how often a journal that writes nothing has the store look whether what it
// has written is still there.
const checkEvery = 5 * time.Second

// changed says in the log and by an event when the store begins to fail, and when it works
// again: once for each, however often it is tried.
func (j *journal) changed(err error) {
	n := j.node
	switch was := j.failing; {
	case err != nil && !was:
		n.cfg.Logger.Error("the store of records fails; durable requests and jobs are not begun until it works again", "err", err)
		n.event(Event{Type: StoreFailing, Err: err})
	case err == nil && was:
		n.cfg.Logger.Info("the store of records works again")
		n.event(Event{Type: StoreWorks})
	}
	j.failing = err != nil
}

// The events of a node's Config.Store.
const (
	StoreFailing EventType = "store failing" // records are not written; Err says why
	StoreWorks   EventType = "store works"   // and are again
)

// Fenced reports whether another start of this node has taken its records over: this one
// begins no durable request and no job any more.
func (n *Node) Fenced() bool {
	j := n.journal
	if j == nil {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fenced
}

// looks ticks when the store is to be checked. A store that cannot find out never is.
func (j *journal) looks() (tick <-chan time.Time, stop func()) {
	if _, ok := j.log.(dedup.Checker); !ok {
		return nil, func() {}
	}
	t := time.NewTicker(checkEvery)
	return t.C, t.Stop
}

// look has the store find out whether it still has what was written.
func (j *journal) look(ctx context.Context) {
	step, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	j.rescue(ctx, j.log.(dedup.Checker).Check(step))
}

// rescue writes all records anew that the store has lost, if that is what err says: they are in memory.
func (j *journal) rescue(ctx context.Context, err error) {
	if !errors.Is(err, dedup.ErrLost) {
		return
	}
	j.changed(err)
	ctx, cancel := context.WithTimeout(ctx, 10*writeTimeout)
	defer cancel()
	if err := j.log.Rewrite(ctx, j.ledger.All()); err != nil {
		j.node.cfg.Logger.Debug("lost records were not written anew, and will be tried again", "err", err)
		return
	}
	j.node.cfg.Logger.Warn("the records that the store had lost were written anew from memory", "bytes", j.ledger.Bytes())
	j.changed(nil)
}
