package actor

// Observe has before called with each message of an actor of the kind, right before the
// message's handler and in the actor's run loop, with the Context that the handler gets. It is
// for tests that count what runs. A kind without it pays nothing. before must not answer the
// message, and what it panics with counts as a panic of the handler.
func Observe(before func(*Context)) KindOption {
	return func(k *Kind) {
		k.observe = before
		k.change(func(h *handler) *handler { return h.observed(before) })
	}
}

// observed returns h, or a handler that calls before first. Messages for a Receiver have no
// handler to call: see cell.handle.
func (h *handler) observed(before func(*Context)) *handler {
	if h.run == nil {
		return h
	}
	with := *h
	with.run = func(state any, c *Context, msg any, spare *reusableValues) {
		before(c)
		h.run(state, c, msg, spare)
	}
	return &with
}
