package client

import (
	"context"

	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
)

// Exchange is a request whose caller waits for its outcome. Its memory is reused by later
// requests: a Call, the storage of its body, and a channel on which one goroutine waits. Only
// one goroutine uses it: it gets it from Client.Exchange, fills in Request, calls Do, decodes the
// reply, and calls Free.
type Exchange struct {
	client *Client
	Spare  any            // memory that a user of the Exchange leaves for the next one
	left   bool           // the caller's context ended first
	wake   chan struct{}  // holds a token once the request has ended
	reply  *promise.Reply // to the attempt that was answered; set with err before the token is there
	err    error

	call Call // begins a cache line
}

// Exchange returns an Exchange to fill in. The caller must call Do and then Free.
func (cl *Client) Exchange() *Exchange {
	if x, ok := cl.exchanges.Get().(*Exchange); ok {
		return x
	}
	x := &Exchange{client: cl, wake: make(chan struct{}, 1)}
	x.call.to = x
	return x
}

// Request returns the request to fill in. Its Body is empty and may have storage to append to.
func (x *Exchange) Request() *Request { return &x.call.req }

// Do sends the request and waits for its outcome. It cancels the request if ctx ends first. The
// reply must not be used after Free.
func (x *Exchange) Do(ctx context.Context) (*promise.Reply, error) {
	if err := x.client.send(ctx, &x.call); err != nil {
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
		e := rpc.FromContext(ctx, rpc.Unknown)
		x.call.GiveUp(e.Code, e.Message)
		<-x.wake
	}
	return x.reply, x.err
}

// Complete implements Completer.
func (x *Exchange) Complete(r *promise.Reply, err error) {
	x.reply, x.err = r, err
	x.wake <- struct{}{}
}

// Free returns x to the pool. x is reused only if nothing else can refer to its call any more:
// that is, if its first attempt was answered, which removes the call from its window for good.
// It returns whether that is so, and with it the Request's Rare is free.
func (x *Exchange) Free() bool {
	c := &x.call
	if !c.answered || x.left {
		return false
	}
	c.req = Request{Body: wire.FreeSent(c.req.Body)}
	c.reply.Body = wire.FreeReceived(c.reply.Body)
	c.flight, c.answered = flight{}, false
	x.client.exchanges.Put(x)
	return true
}
