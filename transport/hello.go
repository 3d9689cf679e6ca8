package transport

import (
	"encoding/binary"
	"fmt"
)

// magic is the beginning of every greeting, so that a peer with another protocol is recognised
// by its first four bytes.
const magic = "TNDM"

// Hello is the first message of the dialling side of a link.
type Hello struct {
	MinVersion, MaxVersion uint8
	Cluster, Node, Epoch   string     // who is dialling
	WantNode, WantEpoch    string     // who should answer; an empty epoch accepts any
	Largest                uint64     // bytes of the largest message that it accepts in chunks; 0: it accepts no chunks
	Nonce                  Nonce      // used for this greeting only, on roads where both sides prove that they take part in it
	Inflates               Algorithms // in which bodies that it receives may be compressed
}

// Welcome is the answer to a Hello.
type Welcome struct {
	Status      Status
	Version     uint8      // the wire version to speak
	Node, Epoch string     // who answers
	Reason      string     // for people, where Status is not StatusOK
	Largest     uint64     // as in Hello, for the answering side
	Nonce       Nonce      // as in Hello, for the answering side
	Inflates    Algorithms // likewise
}

// Terms are what a side's greeting says of what it can receive.
type Terms struct {
	Largest  uint64     // see Hello
	Inflates Algorithms // see Hello
}

// Terms returns those of the side that dials.
func (h Hello) Terms() Terms { return Terms{h.Largest, h.Inflates} }

// Terms returns those of the side that answers.
func (w Welcome) Terms() Terms { return Terms{w.Largest, w.Inflates} }

// Status says whether a Welcome accepts the link, or why it does not.
type Status uint8

// The statuses. The numbers belong to the wire format and never change.
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

// Err returns nil for StatusOK, and otherwise an error that wraps the sentinel of the status.
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

// Greet returns the hello of local to the peer at to.
func Greet(local Local, to Endpoint) Hello {
	return Hello{MinVersion: MinVersion, MaxVersion: Version, Cluster: local.Cluster, Node: local.Node, Epoch: local.Epoch,
		WantNode: to.Node, WantEpoch: to.Epoch, Largest: uint64(local.Largest()), Inflates: local.Inflates()}
}

// Answer returns the answer of local to h. Before that, the road authenticates the peer in its
// own way.
func Answer(local Local, h Hello) Welcome {
	w := Welcome{Node: local.Node, Epoch: local.Epoch, Version: min(Version, h.MaxVersion), Largest: uint64(local.Largest()), Inflates: local.Inflates()}
	refuse := func(s Status, format string, args ...any) Welcome { return w.Refuse(s, fmt.Sprintf(format, args...)) }
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

// Refuse returns w as a refusal.
func (w Welcome) Refuse(s Status, reason string) Welcome {
	w.Status, w.Reason, w.Largest, w.Inflates = s, reason, 0, 0
	return w
}

// Append appends the encoded hello to dst.
func (h Hello) Append(dst []byte) []byte {
	dst = append(append(dst, magic...), h.MinVersion, h.MaxVersion)
	dst = appendTexts(dst, h.Cluster, h.Node, h.Epoch, h.WantNode, h.WantEpoch)
	return appendRest(dst, h.Largest, h.Nonce, h.Inflates)
}

// ParseHello decodes a hello. It skips bytes behind the known fields, so that later versions
// can add fields. Errors wrap ErrProtocol.
func ParseHello(b []byte) (h Hello, err error) {
	if len(b) < len(magic)+2 || string(b[:len(magic)]) != magic {
		return h, fmt.Errorf("%w: not a greeting", ErrProtocol)
	}
	h.MinVersion, h.MaxVersion = b[4], b[5]
	b, err = parseTexts(b[6:], &h.Cluster, &h.Node, &h.Epoch, &h.WantNode, &h.WantEpoch)
	h.Largest, h.Nonce, h.Inflates = parseRest(b)
	return h, err
}

// Append appends the encoded welcome to dst.
func (w Welcome) Append(dst []byte) []byte {
	dst = append(append(dst, magic...), byte(w.Status), w.Version)
	return appendRest(appendTexts(dst, w.Node, w.Epoch, w.Reason), w.Largest, w.Nonce, w.Inflates)
}

// ParseWelcome decodes a welcome, as ParseHello does a hello. Errors wrap ErrProtocol.
func ParseWelcome(b []byte) (w Welcome, err error) {
	if len(b) < len(magic)+2 || string(b[:len(magic)]) != magic {
		return w, fmt.Errorf("%w: not a welcome", ErrProtocol)
	}
	w.Status, w.Version = Status(b[4]), b[5]
	b, err = parseTexts(b[6:], &w.Node, &w.Epoch, &w.Reason)
	w.Largest, w.Nonce, w.Inflates = parseRest(b)
	return w, err
}

func appendTexts(dst []byte, texts ...string) []byte {
	for _, s := range texts {
		s = s[:min(len(s), 1<<12)]
		dst = append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
	}
	return dst
}

// parseTexts decodes texts, and returns the bytes behind them.
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

// appendRest appends the fields that may be absent. A field is present if it or a later one is
// not zero.
func appendRest(dst []byte, largest uint64, nonce Nonce, inflates Algorithms) []byte {
	if largest != 0 || nonce != (Nonce{}) || inflates != 0 {
		dst = binary.BigEndian.AppendUint64(dst, largest)
	}
	if nonce != (Nonce{}) || inflates != 0 {
		dst = append(dst, nonce[:]...)
	}
	if inflates != 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(inflates))
	}
	return dst
}

// parseRest is the inverse of appendRest. What is shorter than a field is not that field: the
// hello of a TCP road ends with four bytes that belong to none.
func parseRest(b []byte) (largest uint64, nonce Nonce, inflates Algorithms) {
	if len(b) < 8 {
		return 0, nonce, 0
	}
	largest = binary.BigEndian.Uint64(b)
	if b = b[8:]; len(b) < len(nonce) {
		return largest, nonce, 0
	}
	if b = b[copy(nonce[:], b):]; len(b) >= 8 {
		inflates = Algorithms(binary.BigEndian.Uint64(b))
	}
	return largest, nonce, inflates
}
