package natsbus_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/transport"
)

// raw is a peer whose packets the test writes by itself, according to SPEC.md. It shares no code with
// the package.
type raw struct {
	t       testing.TB
	nc      *nats.Conn
	cluster string
	own     string // <node>.<epoch>
	sub     *nats.Subscription
	static  *ecdh.PrivateKey
	fresh   *ecdh.PrivateKey // the ephemeral key of all of its greetings
	flags   byte
	opens   map[string][]byte      // by link: the part of its open behind the header
	mine    map[string]cipher.AEAD // by link
	theirs  map[string]cipher.AEAD
}

func x25519(t testing.TB) *ecdh.PrivateKey {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRaw(t testing.TB, url, cluster, node, epoch string, opts ...nats.Option) *raw {
	t.Helper()
	r := &raw{t: t, nc: connect(t, url, opts...), cluster: cluster, own: node + "." + epoch, static: x25519(t), fresh: x25519(t),
		opens: map[string][]byte{}, mine: map[string]cipher.AEAD{}, theirs: map[string]cipher.AEAD{}}
	sub, err := r.nc.SubscribeSync(cluster + ".node." + r.own + ".*")
	if err != nil {
		t.Fatal(err)
	}
	r.sub = sub
	r.flush()
	return r
}

// flush returns when the server has what the peer has published.
func (r *raw) flush() {
	if err := r.nc.Flush(); err != nil {
		r.t.Fatal(err)
	}
}

const (
	kindOpen, kindWelcome, kindData, kindClose, kindReset   = 1, 2, 3, 4, 5
	kindProbe, kindConfirm, kindAsk, kindAnswer, kindRefuse = 6, 7, 8, 9, 10
	fromDialler                                             = 0x80
	tagSize                                                 = 16
)

func numbered(kind byte) bool {
	return slices.Contains([]byte{kindData, kindAsk, kindAnswer}, kind&^fromDialler)
}

func tagged(kind byte) bool {
	return numbered(kind) || slices.Contains([]byte{kindWelcome, kindClose, kindConfirm}, kind&^fromDialler)
}

// nonce returns the nonce of a packet, whose number is at the beginning of rest.
func nonce(kind byte, rest []byte) []byte {
	n := binary.BigEndian.AppendUint32(nil, uint32(kind&^fromDialler))
	if numbered(kind) {
		return append(n, rest[:8]...)
	}
	return append(n, make([]byte, 8)...)
}

// packet returns a packet with the peer's tag, or with a wrong one if the peer has no key for the link.
func (r *raw) packet(kind byte, link string, rest []byte) []byte {
	b := slices.Concat([]byte{1, kind}, []byte(link), rest)
	if !tagged(kind) {
		return b
	}
	if key := r.mine[link]; key != nil {
		return key.Seal(b, nonce(kind, rest), nil, b)
	}
	return append(b, make([]byte, tagSize)...)
}

func (r *raw) subject(to transport.Endpoint, principal string) string {
	return r.cluster + ".node." + to.Node + "." + to.Epoch + "." + principal
}

// say publishes a packet for a node under principal.
func (r *raw) say(to transport.Endpoint, principal string, kind byte, link string, rest []byte) {
	r.t.Helper()
	if err := r.nc.PublishRequest(r.subject(to, principal), r.cluster+".gone."+r.own+".00", r.packet(kind, link, rest)); err != nil {
		r.t.Fatal(err)
	}
}

// heard returns the next packet for the raw peer, without its tag, which must be correct if the link
// has keys.
func (r *raw) heard() (kind byte, link string, rest []byte) {
	r.t.Helper()
	m, err := r.sub.NextMsg(patience)
	if err != nil {
		r.t.Fatal(err)
	}
	kind, link, rest = m.Data[1], string(m.Data[2:18]), m.Data[18:]
	if tagged(kind) {
		cut := len(m.Data) - tagSize
		if key := r.theirs[link]; key != nil {
			if _, err := key.Open(nil, nonce(kind, rest), m.Data[cut:], m.Data[:cut]); err != nil {
				r.t.Errorf("packet of kind %d: %v", kind, err)
			}
		}
		rest = rest[:len(rest)-tagSize]
	}
	return kind, link, rest
}

func (r *raw) hello(b *bus) transport.Hello {
	return transport.Greet(transport.Local{Cluster: b.local.Cluster, Node: "x", Epoch: "e"}, b.end)
}

// offering returns the part of an open behind the header.
func (r *raw) offering(h transport.Hello) []byte {
	return h.Append(slices.Concat([]byte{r.flags}, r.fresh.PublicKey().Bytes(), r.static.PublicKey().Bytes()))
}

// hail sends an open, and computes the link's keys from the welcome.
func (r *raw) hail(to transport.Endpoint, principal, link string, h transport.Hello) transport.Welcome {
	r.t.Helper()
	delete(r.mine, link)
	delete(r.theirs, link)
	rest := r.offering(h)
	r.opens[link] = rest
	r.say(to, principal, kindOpen|fromDialler, link, rest)
	m, err := r.sub.NextMsg(patience)
	if err != nil {
		r.t.Fatal(err)
	}
	b := m.Data
	if b[1] != kindWelcome || string(b[2:18]) != link {
		r.t.Fatalf("packet of kind %d, want a welcome", b[1])
	}
	w, err := transport.ParseWelcome(b[18+65:])
	if err != nil {
		r.t.Fatal(err)
	}
	cut := len(b) - tagSize
	open := slices.Concat([]byte{1, kindOpen | fromDialler}, []byte(link), rest)
	token := m.Subject[len(r.cluster+".node."+r.own+"."):]
	r.agree(link, true, r.static, b[18+1:18+33], b[18+33:18+65], open, b[:cut], principal+" "+token)
	if _, err := r.theirs[link].Open(nil, nonce(kindWelcome, nil), b[cut:], b[:cut]); err != nil {
		r.t.Errorf("welcome: %v", err)
	}
	return w
}

// agree computes the keys of a link. names are the principals of the dialler and the other.
func (r *raw) agree(link string, dials bool, static *ecdh.PrivateKey, theirFresh, theirStatic, open, welcome []byte, names string) {
	r.t.Helper()
	with := func(mine *ecdh.PrivateKey, theirs []byte) []byte {
		key, err := ecdh.X25519().NewPublicKey(theirs)
		if err != nil {
			r.t.Fatal(err)
		}
		b, err := mine.ECDH(key)
		if err != nil {
			r.t.Fatal(err)
		}
		return b
	}
	es, se := with(r.fresh, theirStatic), with(static, theirFresh)
	if !dials {
		es, se = se, es
	}
	first, second := sha256.Sum256(open), sha256.Sum256(welcome)
	salt := sha256.Sum256(slices.Concat(first[:], second[:]))
	secret := slices.Concat(with(r.fresh, theirFresh), es, se)
	key := func(who string) cipher.AEAD {
		k, err := hkdf.Key(sha256.New, secret, salt[:], "tandem bus 1 "+who+" "+names, 32)
		if err != nil {
			r.t.Fatal(err)
		}
		block, err := aes.NewCipher(k)
		if err != nil {
			r.t.Fatal(err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			r.t.Fatal(err)
		}
		return aead
	}
	r.mine[link], r.theirs[link] = key("dials"), key("answers")
	if !dials {
		r.mine[link], r.theirs[link] = r.theirs[link], r.mine[link]
	}
}

// open opens a link and returns b's end.
func (r *raw) open(b *bus, link string) *end {
	r.t.Helper()
	if w := r.hail(b.end, "eve", link, r.hello(b)); w.Status != transport.StatusOK {
		r.t.Fatalf("welcome is %+v", w)
	}
	r.say(b.end, "eve", kindConfirm|fromDialler, link, nil)
	return <-b.accepted
}

// address returns the address of the raw peer, as a registry would have it.
func (r *raw) address() string {
	return "x25519:" + base64.RawURLEncoding.EncodeToString(r.static.PublicKey().Bytes())
}
