package rpc

import (
	"context"
	"sync/atomic"
)

// Exchange is a request whose caller waits for its end, in memory that serves one
// request after another: a Call, the storage of its body, and a place for one waiting
// goroutine. One goroutine uses it: it gets it from Node.Exchange, fills in Request,
// calls Do, decodes what that returns, and calls Free.
type Exchange struct {
	node  *Node
	Spare any // what its user leaves for its next one

	call  Call
	wake  chan struct{} // a token when it has ended
	ended atomic.Bool
	left  bool   // its caller did not wait
	reply *Reply // of the attempt that was answered
	err   error
}

// maxSpareBody is the largest storage of a body that is kept for the next request.
const maxSpareBody = 4 << 10

// Exchange returns one to fill in. Do and Free are to be called.
func (n *Node) Exchange() *Exchange {
	if x, ok := n.exchanges.Get().(*Exchange); ok {
		return x
	}
	return &Exchange{node: n, wake: make(chan struct{}, 1)}
}

// Request is what to send. Its Body is empty and may have storage to append to.
func (x *Exchange) Request() *Request { return &x.call.req }

// Do sends the request and waits for its outcome. When ctx ends before, the request is
// given up. The reply must not be used after Free.
func (x *Exchange) Do(ctx context.Context) (*Reply, error) {
	x.call.to = x
	if err := x.node.send(ctx, &x.call); err != nil {
		return nil, err
	}
	if ctx.Done() == nil {
		<-x.wake
		return x.reply, x.err
	}
	select {
	case <-x.wake:
	case <-ctx.Done():
		x.left = true
		e := FromContext(ctx, Unknown)
		x.call.GiveUp(e.Code, e.Message)
		<-x.wake
	}
	return x.reply, x.err
}

// Complete implements Completer.
func (x *Exchange) Complete(r *Reply, err error) {
	if x.ended.Swap(true) {
		return
	}
	x.reply, x.err = r, err
	x.wake <- struct{}{}
}

// Free gives x back. It is used again only if nobody else can still know its call:
// after an answer to the first attempt, which takes the call out of its window for good.
func (x *Exchange) Free() {
	c := &x.call
	if !c.answered || x.left {
		return
	}
	c.req = Request{Body: spare(c.req.Body)}
	c.reply = Reply{Body: spare(c.reply.Body)}
	c.flight, c.answered = flight{}, false
	x.ended.Store(false)
	x.node.exchanges.Put(x)
}

// spare is the storage of b, for another body.
func spare(b []byte) []byte {
	if cap(b) > maxSpareBody {
		return nil
	}
	return b[:0]
}
