package natsapi

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/rpc"
)

// The headers of answers that are this package's own.
const (
	headerItem  = "Tandem-Item"  // its number in the stream, from 1 on
	headerEnd   = "Tandem-End"   // the last message of a stream: how many items it had
	headerRetry = "Retry-After"  // of an error: whole seconds before which no attempt should come
	headerType  = "Content-Type" // of an error's body; others are JSON
)

// The functions here make what is sent, and have no I/O.

// headers are those of the answers without an error, by verdict. Answers share them, so they are not changed.
type headers struct{ ran, replayed map[rpc.Verdict]nats.Header }

func newHeaders() headers {
	h := headers{map[rpc.Verdict]nats.Header{}, map[rpc.Verdict]nats.Header{}}
	for _, v := range []rpc.Verdict{rpc.Unknown, rpc.NotRun, rpc.HasRun} {
		h.ran[v] = nats.Header{gateway.HeaderRan: {gateway.Ran(v)}}
		h.replayed[v] = nats.Header{gateway.HeaderRan: {gateway.Ran(v)}, gateway.HeaderReplayed: {"true"}}
	}
	return h
}

// reply is the answer of a request that ran; one without a body if the message has none.
func (h headers) reply(to string, a gateway.Answer, ran rpc.Verdict) *nats.Msg {
	m := &nats.Msg{Subject: to, Header: h.ran[ran], Data: a.Body}
	if a.Replayed {
		m.Header = h.replayed[ran]
	}
	return m
}

// failure is the answer of a request that failed: the body is its gateway.Problem, and the headers are those that tools for
// micro services read, and the verdict.
func failure(to string, err error) *nats.Msg {
	p := gateway.ProblemOf(err)
	body, bad := json.Marshal(p)
	if bad != nil { // it has texts and finite numbers only
		panic(bad)
	}
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	h := nats.Header{
		micro.ErrorHeader:     {oneLine(text)},
		micro.ErrorCodeHeader: {strconv.Itoa(p.Status)},
		gateway.HeaderRan:     {p.Ran},
		gateway.HeaderCode:    {p.Code},
		headerType:            {"application/problem+json"},
	}
	if p.RetryAfter > 0 {
		h[headerRetry] = []string{strconv.Itoa(int(math.Ceil(p.RetryAfter)))}
	}
	return &nats.Msg{Subject: to, Header: h, Data: body}
}

// item is one of a stream's.
func item(to string, body []byte, n int) *nats.Msg {
	return &nats.Msg{Subject: to, Data: body, Header: nats.Header{
		headerItem: {strconv.Itoa(n)}, gateway.HeaderRan: {gateway.Ran(rpc.HasRun)},
	}}
}

// end is the last message of a stream that had n items. err is nil if there are no more.
func end(to string, n int, err error) *nats.Msg {
	m := &nats.Msg{Subject: to, Header: nats.Header{gateway.HeaderRan: {gateway.Ran(rpc.HasRun)}}}
	if err != nil {
		m = failure(to, err)
	}
	m.Header[headerEnd] = []string{strconv.Itoa(n)}
	return m
}

// fit returns the message, or the error to send in its place because it is over so many bytes.
func fit(m *nats.Msg, most int64) (*nats.Msg, error) {
	if size := int64(m.Size()); size > most {
		return nil, rpc.Errorf(rpc.ReplyDropped, rpc.HasRun, "the answer has %d bytes, and the server lets %d pass", size, most)
	}
	return m, nil
}

// maxLine is how many bytes of an error's text are in a header; the body has all of it.
const maxLine = 256

// oneLine is a text that can be a header's value.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	return strings.ToValidUTF8(text[:min(len(text), maxLine)], "")
}
