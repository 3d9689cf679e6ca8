package client

import "sync"

// pauses are the requests that wait for their next attempt, because a node has not answered the last one, and that
// may go to another node.
type pauses struct {
	mu sync.Mutex                    // guards what follows; a leaf lock
	of map[string]map[*Call]struct{} // by that node: the first attempts
}

func (p *pauses) add(node string, first *Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[string]map[*Call]struct{}{}
	}
	if p.of[node] == nil {
		p.of[node] = map[*Call]struct{}{}
	}
	p.of[node][first] = struct{}{}
}

func (p *pauses) remove(node string, first *Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if delete(p.of[node], first); len(p.of[node]) == 0 {
		delete(p.of, node)
	}
}

// at returns those that wait because of a node.
func (p *pauses) at(node string) (all []*Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.of[node] {
		all = append(all, c)
	}
	return all
}

// pauseAfter notes that the request waits after an attempt at a node. c.retries.mu is held.
func (c *Call) pauseAfter(cl *Client, node string) {
	if c.req.movable() {
		c.retries.waitsFor = node
		cl.pauses.add(node, c)
	}
}

// pauseOver notes that it does not wait any more. c.retries.mu is held.
func (c *Call) pauseOver(cl *Client) {
	if node := c.retries.waitsFor; node != "" {
		c.retries.waitsFor = ""
		cl.pauses.remove(node, c)
	}
}

// hasten has the requests make their next attempts at once that wait because of a node.
func (cl *Client) hasten(node string) {
	for _, c := range cl.pauses.at(node) {
		r := &c.retries
		r.mu.Lock()
		if r.timer != nil && r.waitsFor == node && r.timer.Stop() {
			r.timer.Reset(0)
		}
		r.mu.Unlock()
	}
}
