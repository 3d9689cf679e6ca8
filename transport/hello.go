package transport

import (
	"encoding/binary"
	"fmt"
)

// magic opens every greeting, so that a peer which speaks something else is
// recognised by its first four bytes.
const magic = "TNDM"

// Hello is what the dialling side of a link says first.
type Hello struct {
	MinVersion, MaxVersion uint8
	Cluster, Node, Epoch   string // who is dialling
	WantNode, WantEpoch    string // who should answer; an empty epoch accepts any
	Largest                uint64 // bytes of the largest message that it takes in chunks; 0: it takes no chunks
	Nonce                  Nonce  // of this greeting alone, where the road has both sides prove that they take part in it
}

// Welcome is the answer to a Hello.
type Welcome struct {
	Status      Status
	Version     uint8  // the wire version to speak
	Node, Epoch string // who answers
	Reason      string // for people, where Status is not StatusOK
	Largest     uint64 // as in Hello
	Nonce       Nonce  // as in Hello, of the answering side
}

// Status is a Welcome's verdict.
type Status uint8

// The statuses. Numbers are wire format and never change.
const (
	StatusOK       Status = 0
	StatusVersion  Status = 1 // no common wire version
	StatusCluster  Status = 2 // another cluster
	StatusIdentity Status = 3 // not the node or the epoch that was wanted
	StatusDenied   Status = 4 // not authenticated
	StatusBusy     Status = 5 // too many links
	StatusProtocol Status = 6 // not a greeting
)

var statusErrors = [...]error{nil, ErrVersion, ErrCluster, ErrIdentity, ErrDenied, ErrBusy, ErrProtocol}

// Err returns nil for StatusOK, else an error that wraps the matching sentinel.
func (w Welcome) Err() error {
	if w.Status == StatusOK {
		return nil
	}
	if int(w.Status) >= len(statusErrors) {
		return fmt.Errorf("%w: welcome of status %d", ErrProtocol, w.Status)
	}
	who := "the peer"
	if w.Node != "" {
		who = fmt.Sprintf("node %q", w.Node)
	}
	return fmt.Errorf("%w: %s says: %s", statusErrors[w.Status], who, w.Reason)
}

// Greet is the hello of local to the peer at to.
func Greet(local Local, to Endpoint) Hello {
	return Hello{MinVersion: MinVersion, MaxVersion: Version, Cluster: local.Cluster, Node: local.Node, Epoch: local.Epoch,
		WantNode: to.Node, WantEpoch: to.Epoch, Largest: uint64(local.Largest())}
}

// Answer decides what local says to h. Authentication is the road's own affair and
// comes before.
func Answer(local Local, h Hello) Welcome {
	w := Welcome{Node: local.Node, Epoch: local.Epoch, Version: min(Version, h.MaxVersion), Largest: uint64(local.Largest())}
	refuse := func(s Status, format string, args ...any) Welcome {
		w.Status, w.Reason, w.Largest = s, fmt.Sprintf(format, args...), 0
		return w
	}
	if h.MaxVersion < MinVersion || h.MinVersion > Version {
		return refuse(StatusVersion, "I speak wire versions %d to %d, you %d to %d", MinVersion, Version, h.MinVersion, h.MaxVersion)
	}
	if h.Cluster != local.Cluster {
		return refuse(StatusCluster, "I am in cluster %q, you are in %q", local.Cluster, h.Cluster)
	}
	if h.WantNode != local.Node || h.WantEpoch != "" && h.WantEpoch != local.Epoch {
		return refuse(StatusIdentity, "I am %s in epoch %s, you want %s in epoch %q", local.Node, local.Epoch, h.WantNode, h.WantEpoch)
	}
	if err := ValidName("node", h.Node); err != nil {
		return refuse(StatusProtocol, "%v", err)
	}
	if err := ValidName("epoch", h.Epoch); err != nil {
		return refuse(StatusProtocol, "%v", err)
	}
	return w
}

// Append appends the encoded hello to dst.
func (h Hello) Append(dst []byte) []byte {
	dst = append(append(dst, magic...), h.MinVersion, h.MaxVersion)
	dst = appendTexts(dst, h.Cluster, h.Node, h.Epoch, h.WantNode, h.WantEpoch)
	return appendRest(dst, h.Largest, h.Nonce)
}

// ParseHello reads what Append wrote. Bytes after the known fields are skipped, so
// that later versions can add to a greeting. Errors wrap ErrProtocol.
func ParseHello(b []byte) (h Hello, err error) {
	if len(b) < len(magic)+2 || string(b[:len(magic)]) != magic {
		return h, fmt.Errorf("%w: not a greeting", ErrProtocol)
	}
	h.MinVersion, h.MaxVersion = b[4], b[5]
	b, err = parseTexts(b[6:], &h.Cluster, &h.Node, &h.Epoch, &h.WantNode, &h.WantEpoch)
	h.Largest, h.Nonce = parseRest(b)
	return h, err
}

// Append appends the encoded welcome to dst.
func (w Welcome) Append(dst []byte) []byte {
	dst = append(append(dst, magic...), byte(w.Status), w.Version)
	return appendRest(appendTexts(dst, w.Node, w.Epoch, w.Reason), w.Largest, w.Nonce)
}

// ParseWelcome reads what Append wrote. Errors wrap ErrProtocol.
func ParseWelcome(b []byte) (w Welcome, err error) {
	if len(b) < len(magic)+2 || string(b[:len(magic)]) != magic {
		return w, fmt.Errorf("%w: not a welcome", ErrProtocol)
	}
	w.Status, w.Version = Status(b[4]), b[5]
	b, err = parseTexts(b[6:], &w.Node, &w.Epoch, &w.Reason)
	w.Largest, w.Nonce = parseRest(b)
	return w, err
}

func appendTexts(dst []byte, texts ...string) []byte {
	for _, s := range texts {
		s = s[:min(len(s), 1<<12)]
		dst = append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
	}
	return dst
}

// parseTexts returns what stands behind the texts.
func parseTexts(b []byte, into ...*string) (rest []byte, err error) {
	for _, p := range into {
		if len(b) < 2 {
			return nil, fmt.Errorf("%w: cut greeting", ErrProtocol)
		}
		n := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; n > len(b) || n > 1<<12 {
			return nil, fmt.Errorf("%w: text of %d bytes in a greeting, %d left", ErrProtocol, n, len(b))
		}
		*p, b = string(b[:n]), b[n:]
	}
	return b, nil
}

// appendRest appends what may be absent, each only with what is before it.
func appendRest(dst []byte, largest uint64, nonce Nonce) []byte {
	if largest != 0 || nonce != (Nonce{}) {
		dst = binary.BigEndian.AppendUint64(dst, largest)
	}
	if nonce != (Nonce{}) {
		dst = append(dst, nonce[:]...)
	}
	return dst
}

func parseRest(b []byte) (largest uint64, nonce Nonce) {
	if len(b) < 8 {
		return 0, nonce
	}
	largest = binary.BigEndian.Uint64(b)
	if b = b[8:]; len(b) >= len(nonce) {
		copy(nonce[:], b)
	}
	return largest, nonce
}
