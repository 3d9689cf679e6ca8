//go:build linux && !race

package hostile

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// This file is mallory as a server: a node with a valid certificate of its own, which the
// victim calls.

// servingFor is how long a hostile server attacks.
const servingFor = time.Second

// listen opens the server's port. The victim is started when its address is known.
func (m *mallory) listen() error {
	cfg, err := m.tls()
	if err == nil {
		m.listener, err = tls.Listen("tcp", "127.0.0.1:0", cfg)
	}
	return err
}

// served is called when a victim has connected. The victim has sent its hello, and got no
// answer yet.
type served func(l *line, hello []byte) error

// serve answers every victim that connects, until the time is over.
func (m *mallory) serve(do served) error {
	var over atomic.Bool
	var first net.Conn
	come := make(chan struct{}, 1)
	go func() {
		for !over.Load() {
			conn, err := m.listener.Accept()
			if err != nil {
				return
			}
			if first == nil {
				first = conn
				come <- struct{}{}
			}
			go func() {
				defer conn.Close()
				l := m.newLine()
				l.conn = conn
				if hello, err := readFrame(conn); err == nil {
					_ = do(l, hello) // that the victim goes away is what it comes to
				}
			}()
		}
	}()
	select {
	case <-come:
	case <-time.After(patience):
		return fmt.Errorf("the victim does not come")
	}
	time.Sleep(servingFor)
	over.Store(true)
	return m.listener.Close()
}

// wasAsked checks that the victim has called the hostile server.
func wasAsked(before, after Inner) error {
	if n := after.Asked - before.Asked; n < 20 {
		return fmt.Errorf("the victim has called the hostile server %d times", n)
	}
	return nil
}

// answer is a correct welcome.
func answer() transport.Welcome {
	return transport.Welcome{Version: transport.Version, Node: "mallory", Epoch: "e", Largest: transport.DefaultMaxMessage, Nonce: transport.NewNonce()}
}

// admit does what a correct server does when a client connects.
func (l *line) admit(hello []byte) error {
	welcome := answer().Append(nil)
	if err := l.write(welcome); err != nil {
		return err
	}
	if _, err := readFrame(l.conn); err != nil {
		return err
	}
	return l.write(transport.Prove("", false, hello, welcome).Append(nil))
}

// forgedWelcomes answers each greeting with another wrong welcome or proof.
func forgedWelcomes(m *mallory) error {
	var turn atomic.Int64
	return m.serve(func(l *line, hello []byte) error {
		w := answer()
		switch turn.Add(1) % 10 {
		case 0:
			w.Node = "honest" // whose link this would be
		case 1:
			w.Node = victimName
		case 2:
			w.Epoch = "\x00\n"
		case 3:
			w.Version = 200
		case 4:
			w.Status, w.Reason = 250, string(make([]byte, 4000))
		case 5:
			w.Largest = 1 << 63
		case 6:
			return l.write(make([]byte, 65536))
		case 7: // a frame of 4 GiB
			_, err := l.conn.Write([]byte{0xff, 0xff, 0xff, 0xff, 'T', 'N', 'D', 'M'})
			return err
		case 8: // the victim's own hello
			return l.write(hello)
		case 9:
			w.Status, w.Reason = transport.StatusBusy, "later"
		}
		b := w.Append(nil)
		if err := l.write(b); err != nil {
			return err
		}
		if _, err := readFrame(l.conn); err != nil {
			return err
		}
		p := transport.Prove("", true, hello, b) // the other side's
		if err := l.write(p.Append(nil)); err != nil {
			return err
		}
		_, err := readFrame(l.conn)
		return err
	})
}

// session admits a client, opens its session, and lets do answer its requests.
func (l *line) serveSession(hello []byte, do func(e *transport.Envelope) error) error {
	if err := l.admit(hello); err != nil {
		return err
	}
	var grant transport.Grant
	rand.Read(grant[:])
	for {
		b, err := readFrame(l.conn)
		if err != nil {
			return err
		}
		var e transport.Envelope
		if err := e.Parse(b); err != nil {
			return err
		}
		switch e.Verb {
		case transport.VerbOpen:
			err = l.send(&transport.Envelope{Verb: transport.VerbOpened, Seq: e.Seq, Grant: grant, Mark: transport.Mark{Below: 4096}})
		case transport.VerbPing:
			err = l.send(&transport.Envelope{Verb: transport.VerbPong, Seq: e.Seq, Sent: time.Now()})
		case transport.VerbRequest:
			err = do(&e)
		}
		if err != nil {
			return err
		}
	}
}

// wrongReplies answers requests that were not sent, answers twice and differently, and says
// wrong things about sessions and requests.
func wrongReplies(m *mallory) error {
	return m.serve(func(l *line, hello []byte) error {
		return l.serveSession(hello, func(e *transport.Envelope) error {
			var other transport.Grant
			rand.Read(other[:])
			reply := func(seq uint64) *transport.Envelope {
				return &transport.Envelope{Verb: transport.VerbReply, Seq: seq, Flags: transport.FlagRan, TypeID: transport.TypeID("int"), Codec: e.Codec, Body: []byte{0xcd}}
			}
			for i := range uint64(50) {
				for _, wrong := range []*transport.Envelope{
					reply(e.Seq + i + 1), reply(1<<63 + i), reply(e.Seq), reply(0),
					{Verb: transport.VerbReply, Seq: e.Seq + 1, Code: 0xffff, Message: string(make([]byte, 8000)), UserCode: "x", RetryAfter: time.Hour},
					{Verb: transport.VerbOpened, Seq: 1 + i, Grant: other, Mark: transport.Mark{Below: 1 << 62}, Flags: transport.FlagDurable, Message: string(make([]byte, 8000))},
					{Verb: transport.VerbStatus, Seq: e.Seq, Code: uint16(i)},
					{Verb: transport.VerbPong, Seq: 1<<63 + i}, {Verb: transport.VerbPong, Seq: 1<<62 + i}, {Verb: transport.VerbPong, Seq: i, Sent: time.Unix(1<<33, 0)},
					{Verb: transport.VerbResync},
					{Verb: transport.VerbBye, Grant: other, Body: []byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 1}},
					{Verb: transport.VerbReply, Seq: 0, Grant: other, Code: 7},
				} {
					if err := l.send(wrong); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
}

// endlessReplies answers each request with the first half of a reply of 64 MB.
func endlessReplies(m *mallory) error {
	half := make([]byte, transport.DefaultMaxMessage/2/m.Share)
	reply := &transport.Envelope{Verb: transport.VerbReply, Flags: transport.FlagRan}
	return m.serve(func(l *line, hello []byte) error {
		number := uint64(0)
		return l.serveSession(hello, func(e *transport.Envelope) error {
			reply.Seq = e.Seq
			header, err := reply.Append(nil)
			if err != nil {
				return err
			}
			number++
			return l.pieces(number, append(header, half...), transport.DefaultMaxMessage)
		})
	})
}

// serverMarks sends acks, marks, cancels, probes and requests of a session that was never
// opened, and answers about chunks that were never sent.
func serverMarks(m *mallory) error {
	frames := ackFrames(8192)
	return m.serve(func(l *line, hello []byte) error {
		return l.serveSession(hello, func(e *transport.Envelope) error {
			for i := range uint64(50) {
				for _, wrong := range []*transport.Envelope{
					{Verb: transport.VerbAck, Mark: transport.Mark{Below: 1 << 62}, Body: frames[i%2]},
					{Verb: transport.VerbPing, Seq: i, Mark: transport.Mark{Below: 1 << 62, Except: []uint64{1, 2, 3}}},
					{Verb: transport.VerbCancel, Seq: i}, {Verb: transport.VerbProbe, Seq: i},
					{Verb: transport.VerbRequest, Seq: i, Target: "echo", Codec: e.Codec, TypeID: e.TypeID, Body: e.Body},
					{Verb: transport.VerbTell, Seq: i, Target: "panics", Codec: e.Codec, TypeID: transport.TypeID("hostile.boom")},
				} {
					if err := l.send(wrong); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
}
