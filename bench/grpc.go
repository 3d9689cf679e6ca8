package main

import (
	"context"
	"errors"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// pbService is what the servers of grpc and drpc count with.
type pbService struct {
	asked *tally
	told  *arrivals
}

// grpcService is what protoc would generate for
//
//	service Echo { rpc Ask(BytesValue) returns (BytesValue); rpc Tell(stream BytesValue) returns (Empty); }
var grpcService = grpc.ServiceDesc{
	ServiceName: "bench.Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Ask", Handler: func(srv any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.BytesValue)
		if err := decode(in); err != nil {
			return nil, err
		}
		srv.(*pbService).asked.add()
		return in, nil
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Tell", ClientStreams: true, Handler: func(srv any, s grpc.ServerStream) error {
		for {
			switch err := s.RecvMsg(new(wrapperspb.BytesValue)); {
			case errors.Is(err, io.EOF):
				return s.SendMsg(new(emptypb.Empty))
			case err != nil:
				return err
			}
			srv.(*pbService).told.add()
		}
	}}},
}

// grpcPair is a server and one connection to it, with grpc-go's defaults.
func grpcPair() (conn *grpc.ClientConn, svc *pbService, stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, nil, err
	}
	svc = &pbService{new(tally), newArrivals()}
	server := grpc.NewServer()
	server.RegisterService(&grpcService, svc)
	go server.Serve(ln)
	conn, err = grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	return conn, svc, func() { conn.Close(); server.Stop() }, err
}

func grpcAsks(callers, size int) (rig, error) {
	conn, svc, stop, err := grpcPair()
	if err != nil {
		return nil, err
	}
	ctx, msg := context.Background(), wrapperspb.Bytes(make([]byte, size))
	ask := func(int) error { return conn.Invoke(ctx, "/bench.Echo/Ask", msg, new(wrapperspb.BytesValue)) }
	return &asks{callers: callers, executed: svc.asked, do: ask, stop: stop}, ask(0)
}

func grpcTells() (rig, error) {
	conn, svc, stop, err := grpcPair()
	if err != nil {
		return nil, err
	}
	stream, err := conn.NewStream(context.Background(), &grpcService.Streams[0], "/bench.Echo/Tell")
	if err != nil {
		return nil, err
	}
	msg := wrapperspb.Bytes(make([]byte, 64))
	return &tells{producers: 1, burst: remoteBurst, arrived: svc.told,
		do: func(int) error { return stream.SendMsg(msg) }, stop: stop}, nil
}
