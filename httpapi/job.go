package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/rpc"
)

// submit serves a message that is to run as a job.
func (h *handler) submit(w http.ResponseWriter, r *http.Request, a *asked) {
	j, err := a.Submit(a.ctx, a.Request)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Location", jobs+url.PathEscape(j.Token))
	w.Header().Set("Preference-Applied", "respond-async")
	j.Token = "" // Location has it
	writeJob(w, http.StatusAccepted, j)
}

// job serves the state of a job, and its result.
func (h *handler) job(w http.ResponseWriter, r *http.Request) {
	principal, ok := h.principal(w, r)
	if !ok {
		return
	}
	j, err := h.table.Redeem(r.Context(), principal, r.PathValue("token"), waitOf(r.Header, h.cfg.MaxWait))
	answerJob(w, j, err)
}

// cancel has a job end early.
func (h *handler) cancel(w http.ResponseWriter, r *http.Request) {
	principal, ok := h.principal(w, r)
	if !ok {
		return
	}
	j, err := h.table.Cancel(r.Context(), principal, r.PathValue("token"))
	answerJob(w, j, err)
}

// answerJob answers with a job, or with why nobody can tell about it.
func answerJob(w http.ResponseWriter, j gateway.Job, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	writeJob(w, http.StatusOK, j)
}

func writeJob(w http.ResponseWriter, status int, j gateway.Job) {
	body, err := json.Marshal(j)
	if err != nil { // a result is what the codec has made
		fail(w, rpc.Errorf(rpc.Internal, rpc.HasRun, "%w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(gateway.HeaderRan, gateway.Ran(j.Ran))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
