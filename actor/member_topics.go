package actor

import (
	"context"
	"time"
)

const (
	topicPause = 10 * time.Millisecond // how long the node's record waits for more changes of topics before it is written
	topicAgain = 5 * time.Second       // the longest pause between two attempts to write it
)

// topicsChanged has the node's record written soon, because its actors have subscribed to something
// else: many changes at once are one write. It does not wait.
func (m *members) topicsChanged() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.behind || m.closed || m.hidden || m.parted || m.sys.cfg.Registry == nil {
		return // it is about to be written, will be when the node is offered, or never again
	}
	m.behind = true
	m.owned.Go(m.catchUp)
}

// catchUp writes the node's record, until that succeeds.
func (m *members) catchUp() {
	said := false
	for wait := topicPause; ; wait = min(2*wait, topicAgain) {
		timer := time.NewTimer(wait)
		select {
		case <-m.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		m.mu.Lock()
		m.behind = false // what changes from now on, this write may miss
		m.mu.Unlock()
		ctx, cancel := context.WithTimeout(m.ctx, m.sys.cfg.StartWait)
		err := m.update(ctx)
		cancel()
		if err == nil || m.ctx.Err() != nil {
			return
		}
		if !said {
			m.sys.log.Warn("the registry does not know yet which topics this node's actors have subscribed to", "err", err)
			said = true
		}
		m.mu.Lock()
		relieved := m.behind || m.closed || m.parted
		m.behind = true
		m.mu.Unlock()
		if relieved { // another goroutine does it
			return
		}
	}
}
