package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcmux"
	"storj.io/drpc/drpcpool"
	"storj.io/drpc/drpcserver"
)

const drpcNote = "a connection carries one request at a time: it gets its own pool, with one connection for each caller"

const (
	drpcAsk  = "/bench.Echo/Ask"
	drpcTell = "/bench.Echo/Tell"
)

// drpcService is what drpc's generator would make for the service that grpc serves.
type drpcService struct{}

func (drpcService) NumMethods() int { return 2 }

func (drpcService) Method(n int) (string, drpc.Encoding, drpc.Receiver, any, bool) {
	switch n {
	case 0:
		return drpcAsk, drpcEncoding{}, func(srv any, ctx context.Context, in, _ any) (drpc.Message, error) {
			return srv.(*pbService).drpcAsk(ctx, in.(*wrapperspb.BytesValue))
		}, (*pbService).drpcAsk, true
	case 1:
		return drpcTell, drpcEncoding{}, func(srv any, _ context.Context, stream, _ any) (drpc.Message, error) {
			return nil, srv.(*pbService).drpcTell(stream.(drpc.Stream))
		}, (*pbService).drpcTell, true
	}
	return "", nil, nil, nil, false
}

func (s *pbService) drpcAsk(_ context.Context, m *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
	s.asked.add()
	return m, nil
}

func (s *pbService) drpcTell(stream drpc.Stream) error {
	for {
		switch err := stream.MsgRecv(new(wrapperspb.BytesValue), drpcEncoding{}); {
		case errors.Is(err, io.EOF):
			return stream.MsgSend(new(emptypb.Empty), drpcEncoding{})
		case err != nil:
			return err
		}
		s.told.add()
	}
}

// drpcEncoding is the one that drpc's generator makes.
type drpcEncoding struct{}

func (drpcEncoding) Marshal(m drpc.Message) ([]byte, error) { return proto.Marshal(m.(proto.Message)) }

func (drpcEncoding) MarshalAppend(buf []byte, m drpc.Message) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(buf, m.(proto.Message))
}

func (drpcEncoding) Unmarshal(buf []byte, m drpc.Message) error {
	return proto.Unmarshal(buf, m.(proto.Message))
}

// drpcPair is a server and a pool of connections to it, with drpc's defaults.
func drpcPair() (conn drpc.Conn, svc *pbService, stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, nil, err
	}
	svc = &pbService{new(tally), newArrivals()}
	mux := drpcmux.New()
	if err := mux.Register(svc, drpcService{}); err != nil {
		return nil, nil, nil, fmt.Errorf("drpc: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go drpcserver.New(mux).Serve(ctx, ln)
	pool := drpcpool.New[string, drpcpool.Conn](drpcpool.Options{})
	conn = pool.Get(ctx, ln.Addr().String(), func(ctx context.Context, addr string) (drpcpool.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return drpcconn.New(c), nil
	})
	return conn, svc, func() { pool.Close(); cancel() }, nil
}

func drpcAsks(callers, size int) (rig, error) {
	conn, svc, stop, err := drpcPair()
	if err != nil {
		return nil, err
	}
	ctx, msg := context.Background(), wrapperspb.Bytes(make([]byte, size))
	ask := func(int) error { return conn.Invoke(ctx, drpcAsk, drpcEncoding{}, msg, new(wrapperspb.BytesValue)) }
	return &asks{callers: callers, executed: svc.asked, do: ask, stop: stop}, ask(0)
}

func drpcTells() (rig, error) {
	conn, svc, stop, err := drpcPair()
	if err != nil {
		return nil, err
	}
	stream, err := conn.NewStream(context.Background(), drpcTell, drpcEncoding{})
	if err != nil {
		return nil, err
	}
	msg := wrapperspb.Bytes(make([]byte, 64))
	return &tells{producers: 1, burst: remoteBurst, arrived: svc.told,
		do: func(int) error { return stream.MsgSend(msg, drpcEncoding{}) }, stop: func() { stream.Close(); stop() }}, nil
}
