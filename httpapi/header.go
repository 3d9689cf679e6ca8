package httpapi

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/gateway"
)

// waitOf is how long the client prefers to wait, at most that long.
func waitOf(h http.Header, most time.Duration) time.Duration {
	text, _ := gateway.Preference(h.Values("Prefer"), "wait")
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, most)
}

// isJSON reports whether a content type is that of JSON in UTF-8.
func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	kind, params, err := mime.ParseMediaType(contentType)
	charset := strings.ToLower(params["charset"])
	return err == nil && kind == "application/json" && (charset == "" || charset == "utf-8")
}

// accepts reports whether the client takes answers of that media type. What it prefers does not matter, because there is one.
func accepts(h http.Header, want string) bool {
	lines := h.Values("Accept")
	if len(lines) == 0 || lines[0] == "*/*" || lines[0] == want {
		return true
	}
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			kind, params, err := mime.ParseMediaType(part)
			all, _, _ := strings.Cut(want, "/")
			if err == nil && (kind == want || kind == "*/*" || kind == all+"/*") && params["q"] != "0" {
				return true
			}
		}
	}
	return false
}

// running are the keys whose requests run at a handler. Its zero value is empty.
type running struct {
	mu  sync.Mutex // guards what follows
	all map[[3]string]bool
}

// enter adds a key, until leave is called. free is false if it is there.
func (r *running) enter(principal, path, key string) (leave func(), free bool) {
	id := [3]string{principal, path, key}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[id] {
		return nil, false
	}
	if r.all == nil {
		r.all = map[[3]string]bool{}
	}
	r.all[id] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.all, id)
	}, true
}
