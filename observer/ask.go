package observer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/rpc"
)

// Limits of questions.
const (
	maxQuestion = 64 << 10
	askWait     = 30 * time.Second // an event that is waited for, or many letters that are sent again
	allWait     = 3 * time.Second
	asksAtATime = 32
)

// question reads the message and the body of a request, and checks that the client may ask it.
func (h *Handler) question(w http.ResponseWriter, r *http.Request) (message string, body json.RawMessage, ok bool) {
	message = r.PathValue("message")
	right, known := admin.RightFor(message)
	if !known {
		refuse(w, http.StatusNotFound, "there is no such message")
		return "", nil, false
	}
	h.allowed(right, func(w http.ResponseWriter, r *http.Request) {
		var err error
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuestion))
		switch large := (*http.MaxBytesError)(nil); {
		case errors.As(err, &large):
			refuse(w, http.StatusRequestEntityTooLarge, "the question is too long")
		case err != nil || len(body) > 0 && !json.Valid(body):
			refuse(w, http.StatusBadRequest, "the question is not JSON")
		case message == "QueueItems" && wantsContent(body):
			h.allowed(admin.ToOperate, func(http.ResponseWriter, *http.Request) { ok = true })(w, r)
		default:
			ok = true
		}
	})(w, r)
	return message, body, ok
}

// wantsContent reports whether a question is one for the content of messages, for which the nodes want the right to operate, too.
func wantsContent(body json.RawMessage) bool {
	var q admin.QueueItems
	return json.Unmarshal(body, &q) == nil && q.Content
}

// ask asks one node, which the query names; without a name, any.
func (h *Handler) ask(w http.ResponseWriter, r *http.Request) {
	message, body, ok := h.question(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askWait)
	defer cancel()
	answer, err := h.cluster.AskJSON(ctx, r.URL.Query().Get("node"), message, body)
	if err != nil {
		fail(w, err)
		return
	}
	send(w, answer)
}

// all asks all nodes. Only what reads can be asked of all.
func (h *Handler) all(w http.ResponseWriter, r *http.Request) {
	message, body, ok := h.question(w, r)
	if !ok {
		return
	}
	if right, _ := admin.RightFor(message); right != admin.ToRead {
		refuse(w, http.StatusBadRequest, "that is done at one node")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), allWait)
	defer cancel()
	nodes, err := h.cluster.Nodes(ctx)
	if err != nil {
		fail(w, err)
		return
	}
	type answer struct {
		Node  string
		Reply json.RawMessage `json:",omitempty"`
		Error *problem        `json:",omitempty"`
	}
	answers := make([]answer, len(nodes))
	slots := make(chan struct{}, asksAtATime)
	var asking sync.WaitGroup
	for i, node := range nodes {
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			answers[i].Node = node
			reply, err := h.cluster.AskJSON(ctx, node, message, body)
			if err != nil {
				p := problemOf(err)
				answers[i].Error = &p
				return
			}
			answers[i].Reply = reply
		})
	}
	asking.Wait()
	send(w, answers)
}

func problemOf(err error) problem {
	return problem{Code: rpc.CodeOf(err).String(), Ran: rpc.Ran(err).String(), Error: gateway.ErrorOf(err).Message}
}

// fail answers with an error of a node.
func fail(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(gateway.ProblemOf(err).Status)
	_ = json.NewEncoder(w).Encode(problemOf(err))
}
