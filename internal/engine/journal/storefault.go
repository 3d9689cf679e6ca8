package journal

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
)

// checkEvery is how often a journal that writes nothing asks the store whether what was
// written is still there.
const checkEvery = 5 * time.Second

// reportHealth logs, and sends an event, when the store begins to fail and when it works again:
// once for each, however often a write is tried. err is the result of the latest one.
func (j *Journal) reportHealth(err error) {
	switch was := j.failing.Load() != nil; {
	case err != nil && !was:
		j.Host.Logger.Error("the store of records fails; durable requests and jobs are not begun until it works again", "err", err)
		j.Host.Event(rpc.Event{Type: rpc.StoreFailing, Err: err})
	case err == nil && was:
		j.Host.Logger.Info("the store of records works again")
		j.Host.Event(rpc.Event{Type: rpc.StoreWorks})
	}
	if err == nil {
		j.failing.Store(nil)
		return
	}
	j.failing.Store(&err)
}

// Failing returns why records are not written now; nil if they are, as far as is known. A nil Journal never fails.
func (j *Journal) Failing() error {
	if j == nil {
		return nil
	}
	if err := j.failing.Load(); err != nil {
		return *err
	}
	return nil
}

// Fenced reports whether another start of this node has taken its records over, so that this
// one begins no durable request and no job any more. A nil Journal is never fenced.
func (j *Journal) Fenced() bool {
	if j == nil {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fenced
}

// checkTicks returns a channel that ticks when the store is to be checked, and a function that
// stops it. The channel is nil if the store cannot be checked.
func (j *Journal) checkTicks() (tick <-chan time.Time, stop func()) {
	if _, ok := j.log.(ledger.Checker); !ok {
		return nil, func() {}
	}
	t := time.NewTicker(checkEvery)
	return t.C, t.Stop
}

// check asks the store whether it still has what was written.
func (j *Journal) check(ctx context.Context) {
	step, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	j.restoreLost(ctx, j.log.(ledger.Checker).Check(step))
}

// restoreLost writes all records again, which are in memory, if err says that the store has
// lost some.
func (j *Journal) restoreLost(ctx context.Context, err error) {
	if !errors.Is(err, ledger.ErrLost) {
		return
	}
	j.reportHealth(err)
	ctx, cancel := context.WithTimeout(ctx, 10*writeTimeout)
	defer cancel()
	if err := j.log.Rewrite(ctx, j.ledger.All()); err != nil {
		j.Host.Logger.Debug("lost records were not written again, and will be tried again", "err", err)
		return
	}
	j.Host.Logger.Warn("the records that the store had lost were written again from memory", "bytes", j.ledger.Bytes())
	j.reportHealth(nil)
}
