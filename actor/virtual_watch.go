package actor

import (
	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/rpc"
)

// search finds out who has the virtual actor that is watched, in a goroutine of its own, and watches that activation.
func (w *watch) search() {
	s := w.of.sys
	if !s.services.run(func() {
		at, err := s.activeAt(s.ctx, w.of, access.Watch)
		switch {
		case err != nil:
			w.by.signal(terminated{w, err})
		case at == nil:
			w.by.signal(terminated{w, s.notActive(w.of)})
		case at.addr.node != s.cfg.Name:
			far, id := s.far.join(at.addr.node)
			far.add(w, w.by.found(w, at, far, id))
		case w.by.found(w, at, nil, 0):
			if c := at.cell.Load(); c == nil || !c.watchedBy(w) { // it has just ended
				w.over(rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %v", at.addr))
			}
		}
	}) {
		w.by.signal(terminated{w, errShutdown})
	}
}

// found notes which actor a watch by c is about. It returns false if nobody wants to know any more.
func (c *cell) found(w *watch, at *target, far *farNode, id uint64) bool {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watching[w.of] != w {
		return false
	}
	w.at, w.far, w.id = at, far, id
	return true
}
