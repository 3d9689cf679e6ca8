package jetstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// These tests compare the table of package internal/jserror with a server. They are here
// because this test program contains a server anyway.

// startConnected starts a server, and connects to it.
func startConnected(t *testing.T, cfg embedded.Config) (*embedded.Server, natsjs.JetStream) {
	t.Helper()
	s := servers.Start(t, cfg)
	return s, servers.Connect(t, s)
}

func stream(t *testing.T, js natsjs.JetStream, cfg natsjs.StreamConfig) natsjs.Stream {
	t.Helper()
	cfg.Name, cfg.Subjects = "S", []string{"s.*"}
	s, err := js.CreateOrUpdateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// apiDelete deletes a message, and returns the server's own error.
func apiDelete(t *testing.T, js natsjs.JetStream, stream string, body string) error {
	t.Helper()
	m, err := js.Conn().Request("$JS.API.STREAM.MSG.DELETE."+stream, []byte(body), 5*time.Second)
	if err != nil {
		return err
	}
	var said struct{ Error *natsjs.APIError }
	if err := json.Unmarshal(m.Data, &said); err != nil || said.Error == nil {
		return err
	}
	return said.Error
}

func header(key, value string) *nats.Msg {
	m := nats.NewMsg("s.x")
	m.Header.Set(key, value)
	return m
}

// Each error that the test can make a server return is in the table, with what it proves:
// after NotDone the message is not stored, and after Done it is.
func TestAgainstServer(t *testing.T) {
	const (
		done    = jserror.Done
		notDone = jserror.NotDone
	)
	publish := func(m *nats.Msg, opts ...natsjs.PublishOpt) func(*testing.T, *embedded.Server, natsjs.JetStream) error {
		return func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			_, err := js.PublishMsg(t.Context(), m, opts...)
			return err
		}
	}
	large := nats.NewMsg("s.x")
	large.Data = make([]byte, 200)
	beyond := nats.NewMsg("s.x")
	beyond.Data = make([]byte, 2<<20)
	for name, c := range map[string]struct {
		cfg   natsjs.StreamConfig
		fill  int // how many messages are stored before
		do    func(*testing.T, *embedded.Server, natsjs.JetStream) error
		code  natsjs.ErrorCode
		proof jserror.Proof
		cause jserror.Cause
	}{
		"stored":                  {do: publish(nats.NewMsg("s.x")), proof: done},
		"a duplicate":             {fill: 1, do: publish(nats.NewMsg("s.x"), natsjs.WithMsgID("id0")), proof: done},
		"full of messages":        {cfg: natsjs.StreamConfig{MaxMsgs: 1, Discard: natsjs.DiscardNew}, fill: 1, do: publish(nats.NewMsg("s.x")), code: 10077, proof: notDone, cause: jserror.Full},
		"full of bytes":           {cfg: natsjs.StreamConfig{MaxBytes: 100, Discard: natsjs.DiscardNew}, do: publish(large), code: 10077, proof: notDone, cause: jserror.Full},
		"full of a subject":       {cfg: natsjs.StreamConfig{MaxMsgsPerSubject: 1, DiscardNewPerSubject: true, Discard: natsjs.DiscardNew}, fill: 1, do: publish(nats.NewMsg("s.x")), code: 10077, proof: notDone, cause: jserror.Full},
		"too large for a stream":  {cfg: natsjs.StreamConfig{MaxMsgSize: 100}, do: publish(large), code: 10054, proof: notDone, cause: jserror.TooLarge},
		"too large for NATS":      {do: publish(beyond), proof: notDone, cause: jserror.TooLarge},
		"too large a header":      {do: publish(header("X", strings.Repeat("x", 70000))), code: 10097, proof: notDone, cause: jserror.TooLarge},
		"wrong last sequence":     {fill: 1, do: publish(nats.NewMsg("s.x"), natsjs.WithExpectLastSequence(7)), code: 10071, proof: notDone, cause: jserror.Conflict},
		"wrong last of a subject": {fill: 1, do: publish(nats.NewMsg("s.x"), natsjs.WithExpectLastSequencePerSubject(7)), code: 10071, proof: notDone, cause: jserror.Conflict},
		"wrong last id":           {fill: 1, do: publish(nats.NewMsg("s.x"), natsjs.WithExpectLastMsgID("y")), code: 10070, proof: notDone, cause: jserror.Conflict},
		"another stream":          {do: publish(nats.NewMsg("s.x"), natsjs.WithExpectStream("T")), code: 10060, proof: notDone, cause: jserror.Conflict},
		"no life of its own":      {do: publish(header("Nats-TTL", "5s")), code: 10166, proof: notDone, cause: jserror.Refused},
		"a life that is none":     {cfg: natsjs.StreamConfig{AllowMsgTTL: true}, do: publish(header("Nats-TTL", "x")), code: 10165, proof: notDone, cause: jserror.Refused},
		"sealed": {do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			stream(t, js, natsjs.StreamConfig{Sealed: true})
			_, err := js.Publish(t.Context(), "s.x", nil)
			return err
		}, code: 10109, proof: notDone, cause: jserror.Refused},
		"no stream": {do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			_, err := js.Publish(t.Context(), "none", nil)
			return err
		}, proof: notDone, cause: jserror.Away},
		"too many wait": {do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			for range 20 { // until one arrives while others wait
				var acks []natsjs.PubAckFuture
				for range 500 {
					ack, err := js.PublishAsync("s.x", nil)
					if err != nil {
						return err
					}
					acks = append(acks, ack)
				}
				var refused error
				for _, ack := range acks {
					select {
					case <-ack.Ok():
					case refused = <-ack.Err():
					}
				}
				if refused != nil {
					return refused
				}
			}
			return nil
		}, code: 10167, proof: notDone, cause: jserror.Busy},
		"deleted": {fill: 1, do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			return apiDelete(t, js, "S", `{"seq":1}`)
		}, proof: done},
		"deleted before": {fill: 3, do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			if err := apiDelete(t, js, "S", `{"seq":2}`); err != nil {
				t.Fatal(err)
			}
			return apiDelete(t, js, "S", `{"seq":2}`)
		}, code: 10043, proof: notDone, cause: jserror.Missing},
		"deleted, the only one": {fill: 1, do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			_ = apiDelete(t, js, "S", `{"seq":1}`)
			return apiDelete(t, js, "S", `{"seq":1}`)
		}, proof: notDone, cause: jserror.Missing},
		"nothing to delete yet": {fill: 1, do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			return apiDelete(t, js, "S", `{"seq":9}`)
		}, code: 10057, proof: notDone, cause: jserror.Missing},
		"deleted in no stream": {do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			return apiDelete(t, js, "T", `{"seq":1}`)
		}, code: 10059, proof: notDone, cause: jserror.Gone},
		"bad JSON": {do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			return apiDelete(t, js, "S", `{"seq":`)
		}, code: 10025, proof: notDone, cause: jserror.Refused},
		"an empty request": {do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			return apiDelete(t, js, "S", ``)
		}, code: 10003, proof: notDone, cause: jserror.Refused},
		"no message": {do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			s, err := js.Stream(t.Context(), "S")
			if err != nil {
				return err
			}
			_, err = s.GetMsg(t.Context(), 9)
			return err
		}, code: 10037, proof: notDone, cause: jserror.Missing},
		"no consumer": {do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			_, err := js.Consumer(t.Context(), "S", "none")
			return err
		}, code: 10014, proof: notDone, cause: jserror.Gone},
		"not connected": {do: func(t *testing.T, s *embedded.Server, js natsjs.JetStream) error {
			s.Shutdown()
			for js.Conn().Status() == nats.CONNECTED {
				time.Sleep(time.Millisecond)
			}
			_, err := js.Publish(t.Context(), "s.x", nil)
			return err
		}, proof: notDone, cause: jserror.Away},
		"closed": {do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			js.Conn().Close()
			_, err := js.Publish(t.Context(), "s.x", nil)
			return err
		}, proof: jserror.Unknown, cause: jserror.Away},
		"cancelled": {do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := js.Publish(ctx, "s.x", nil)
			return err
		}, proof: jserror.Unknown},
		"somebody else answers": {do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			sub, err := js.Conn().Subscribe("other", func(m *nats.Msg) { _ = m.Respond([]byte("?")) })
			if err != nil {
				return err
			}
			defer sub.Unsubscribe()
			_, err = js.Publish(t.Context(), "other", nil)
			return err
		}, proof: jserror.Unknown},
		"a bad subject": {do: func(t *testing.T, _ *embedded.Server, js natsjs.JetStream) error {
			_, err := js.Publish(t.Context(), "", nil)
			return err
		}, proof: notDone, cause: jserror.Refused},
		"JetStream is not enabled": {do: func(t *testing.T, _ *embedded.Server, _ natsjs.JetStream) error {
			_, js := startConnected(t, embedded.Config{Configure: func(o *server.Options) { o.JetStream = false }})
			_, err := js.AccountInfo(t.Context())
			return err
		}, proof: jserror.Unknown, cause: jserror.Away},
		"not enabled for the account": {do: func(t *testing.T, _ *embedded.Server, _ natsjs.JetStream) error {
			a := server.NewAccount("A")
			s, err := embedded.Start(embedded.Config{Configure: func(o *server.Options) {
				o.Accounts = []*server.Account{a}
				o.Users = []*server.User{{Username: "u", Password: "p", Account: a}}
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Shutdown()
			nc, err := s.Connect(nats.UserInfo("u", "p"))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			return apiDelete(t, must(natsjs.New(nc)), "S", `{"seq":1}`)
		}, proof: notDone},
	} {
		t.Run(name, func(t *testing.T) {
			s, js := startConnected(t, embedded.Config{Configure: func(o *server.Options) {
				if name == "too many wait" {
					o.StreamMaxBufferedMsgs = 1
				}
			}})
			str := stream(t, js, c.cfg)
			for n := range c.fill {
				if _, err := js.Publish(t.Context(), "s.x", nil, natsjs.WithMsgID(fmt.Sprint("id", n))); err != nil {
					t.Fatal(err)
				}
			}
			err := c.do(t, s, js)
			var said *natsjs.APIError
			if errors.As(err, &said); c.code != 0 && (said == nil || said.ErrorCode != c.code) {
				t.Fatalf("got %v, want code %d", err, c.code)
			}
			if f := jserror.Of(err); f.Proof != c.proof || c.cause != 0 && f.Cause != c.cause {
				t.Errorf("%v proves %+v, want %v", err, f, c.proof)
			}
			if c.code == 10077 || c.code == 10054 || c.code == 10071 {
				info, err := str.Info(t.Context())
				if err != nil || int(info.State.Msgs) != c.fill {
					t.Errorf("%d messages are stored, want %d; %v", info.State.Msgs, c.fill, err)
				}
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// While an earlier publish with the same id waits for a majority, the answer to a publish is
// that it is in process. That proves nothing, and the next answer may be a different one.
func TestInProcess(t *testing.T) {
	t.Parallel()
	js, stop := threeServers(t)
	if _, err := js.CreateStream(t.Context(), natsjs.StreamConfig{Name: "S", Subjects: []string{"s.*"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	js = stop(s.CachedInfo().Cluster.Leader)
	var attempts jserror.Attempts
	for began := time.Now(); ; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := js.Publish(ctx, "s.x", nil, natsjs.WithMsgID("x"))
		cancel()
		f := attempts.Add(err)
		if f.Proof != jserror.Unknown || !f.Again {
			t.Fatalf("%v proves %+v", err, f)
		}
		var said *natsjs.APIError
		if errors.As(err, &said) && said.ErrorCode == 10158 {
			return
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("the last error: %v", err)
		}
	}
}

// threeServers starts a cluster. stop stops all but one, and returns a connection to it.
func threeServers(t *testing.T) (js natsjs.JetStream, stop func(but string) natsjs.JetStream) {
	t.Helper()
	three := servers.Three(t)
	js = servers.Connect(t, three.Servers[2])
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		led := false
		for _, s := range three.Servers {
			led = led || len(s.Server().JetStreamClusterPeers()) == 3 // the leader knows them
		}
		if _, err := js.AccountInfo(t.Context()); err == nil && led {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal("the cluster has no leader")
		}
	}
	return js, func(but string) natsjs.JetStream {
		kept := slices.IndexFunc(three.Servers, func(s *embedded.Server) bool { return s.Server().Name() == but })
		js := servers.Connect(t, three.Servers[kept])
		for i := range three.Servers {
			if i != kept {
				three.Stop(i)
			}
		}
		return js
	}
}
