package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/rpc"
)

// jobBody is a job as a client gets it.
type jobBody struct {
	State  string          `json:"state"` // as rpc.JobState's String says
	Done   int64           `json:"done,omitempty"`
	Total  int64           `json:"total,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *problem        `json:"error,omitempty"` // why it failed or was cancelled
}

// submit serves a message that is to run as a job.
func (h *handler) submit(w http.ResponseWriter, r *http.Request, a *asked) {
	token, err := a.Submit(a.ctx, a.Request)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Location", jobs+url.PathEscape(token))
	w.Header().Set("Preference-Applied", "respond-async")
	w.Header().Set(gateway.HeaderRan, gateway.Ran(rpc.Unknown)) // of a job it is in its state
	writeJSON(w, http.StatusAccepted, jobBody{State: rpc.JobAccepted.String()})
}

// job serves the state of a job, and its result.
func (h *handler) job(w http.ResponseWriter, r *http.Request) {
	principal, ok := h.principal(w, r)
	if !ok {
		return
	}
	j, err := h.table.Redeem(r.Context(), principal, r.PathValue("token"), waitOf(r.Header, h.cfg.MaxWait))
	writeJob(w, j, err)
}

// cancel has a job end early.
func (h *handler) cancel(w http.ResponseWriter, r *http.Request) {
	principal, ok := h.principal(w, r)
	if !ok {
		return
	}
	j, err := h.table.Cancel(r.Context(), principal, r.PathValue("token"))
	writeJob(w, j, err)
}

func writeJob(w http.ResponseWriter, j gateway.Job, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	if j.Status.State == rpc.JobUnknown {
		fail(w, rpc.Errorf(rpc.NotFound, rpc.Unknown, "there is no such job, or it was running when its node was lost"))
		return
	}
	body := jobBody{State: j.Status.State.String(), Done: j.Status.Done, Total: j.Status.Total, Result: j.Result}
	if j.Status.Err != nil {
		p := problemOf(j.Status.Err)
		body.Error = &p
	}
	ran := rpc.Unknown
	switch {
	case j.Status.State == rpc.JobDone:
		ran = rpc.HasRun
	case j.Status.Err != nil:
		ran = rpc.Ran(j.Status.Err)
	}
	w.Header().Set(gateway.HeaderRan, gateway.Ran(ran))
	writeJSON(w, http.StatusOK, body)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // a result is what the codec has made
		fail(w, rpc.Errorf(rpc.Internal, rpc.HasRun, "%w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
