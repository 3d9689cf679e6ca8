package natsbus

import (
	"encoding/binary"
	"fmt"

	"github.com/tandem-go/tandem/transport"
)

// packetVersion is the version of the packet format, the first byte of every packet.
const packetVersion = 1

// packetKind says what a packet is for.
type packetKind uint8

// The kinds. The numbers belong to the wire format and never change.
const (
	packetOpen    packetKind = 1  // dialler: an offer of keys and a Hello
	packetWelcome packetKind = 2  // answer to an open: an offer and a Welcome
	packetData    packetKind = 3  // a number, then frames
	packetClose   packetKind = 4  // the link ends: payload is the reason, for people
	packetReset   packetKind = 5  // answer to a packet of a link that its receiver does not know
	packetProbe   packetKind = 6  // from a node to itself
	packetConfirm packetKind = 7  // dialler: answer to a welcome
	packetAsk     packetKind = 8  // a number: do you know this link?
	packetAnswer  packetKind = 9  // answer to the ask with the same number
	packetRefuse  packetKind = 10 // answer to an open for which there is no room: a Welcome
)

// numbered reports whether packets of the kind carry a number.
func (k packetKind) numbered() bool {
	return k == packetData || k == packetAsk || k == packetAnswer
}

// tagged reports whether packets of the kind end with a tag.
func (k packetKind) tagged() bool {
	return k.numbered() || k == packetWelcome || k == packetClose || k == packetConfirm
}

// private reports whether packets of the kind are encrypted on a link that encrypts.
func (k packetKind) private() bool { return k == packetData || k == packetClose }

// fromDialler is set in the byte of the kind if the end that opened the link sends the packet.
// It lets a node have a link to itself, both ends of which have the same id.
const fromDialler = 0x80

// Sizes, in bytes.
const (
	headerSize     = 2 + len(linkID{}) // version, kind, link
	dataHeaderSize = headerSize + 8    // and the number
	dataRoom       = dataHeaderSize + tagSize
	frameSize      = 4                  // the length before every envelope
	maxPacket      = transport.MaxFrame // of one packet, where the server allows it
	gather         = 16 << 10           // of a packet of many frames; measured: larger ones do not fit into the caches
	maxReason      = 256                // of a close packet's text
)

// linkID names a link: random, minted by its dialler.
type linkID [16]byte

// packet is one NATS message of the road.
type packet struct {
	kind        packetKind
	fromDialler bool
	link        linkID
	number      uint64 // data: counts the packets of this link and direction, from 1; ask and answer: likewise the asks
	payload     []byte // data: frames
	tag         []byte // for tagged kinds, once there is one

	gap bool // not on the wire: data before this packet was lost
}

// parsePacket decodes the packet in b; payload and tag refer to b. Errors wrap
// transport.ErrProtocol or, for another format, transport.ErrVersion.
func parsePacket(b []byte) (p packet, err error) {
	if len(b) < headerSize {
		return p, fmt.Errorf("%w: packet of %d bytes", transport.ErrProtocol, len(b))
	}
	if b[0] != packetVersion {
		return p, fmt.Errorf("%w: packet of version %d", transport.ErrVersion, b[0])
	}
	p.kind, p.fromDialler = packetKind(b[1]&^fromDialler), b[1]&fromDialler != 0
	if p.kind == 0 || p.kind > packetRefuse {
		return p, fmt.Errorf("%w: packet of kind %d", transport.ErrProtocol, p.kind)
	}
	copy(p.link[:], b[2:])
	p.payload = b[headerSize:]
	if p.kind.numbered() {
		if len(p.payload) < 8 {
			return p, fmt.Errorf("%w: packet of kind %d and %d bytes", transport.ErrProtocol, p.kind, len(b))
		}
		p.number, p.payload = binary.BigEndian.Uint64(p.payload), p.payload[8:]
	}
	if p.kind.tagged() {
		rest := len(p.payload) - tagSize
		if rest < 0 {
			return p, fmt.Errorf("%w: packet of kind %d and %d bytes", transport.ErrProtocol, p.kind, len(b))
		}
		p.payload, p.tag = p.payload[:rest], p.payload[rest:]
	}
	return p, nil
}

// append appends the encoded packet to dst, with its tag if it has one.
func (p packet) append(dst []byte) []byte {
	kind := byte(p.kind)
	if p.fromDialler {
		kind |= fromDialler
	}
	dst = append(append(dst, packetVersion, kind), p.link[:]...)
	if p.kind.numbered() {
		dst = binary.BigEndian.AppendUint64(dst, p.number)
	}
	return append(append(dst, p.payload...), p.tag...)
}

// split returns how many bytes of frames fit into room without cutting a frame; 0 if not even the
// first frame fits.
func split(frames []byte, room int) int {
	if len(frames) <= room {
		return len(frames)
	}
	end := 0
	for {
		next := end + frameSize + int(binary.BigEndian.Uint32(frames[end:]))
		if next > room {
			return end
		}
		end = next
	}
}

// nextFrame returns the first envelope in b, and the rest. Errors wrap transport.ErrProtocol.
func nextFrame(b []byte, maxFrame int) (envelope, rest []byte, err error) {
	if len(b) < frameSize {
		return nil, nil, fmt.Errorf("%w: frame cut in its length", transport.ErrProtocol)
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[frameSize:]; uint64(n) > uint64(len(b)) || uint64(n) > uint64(maxFrame) {
		return nil, nil, fmt.Errorf("%w: frame of %d bytes, %d left, limit %d", transport.ErrProtocol, n, len(b), maxFrame)
	}
	return b[:n], b[n:], nil
}
