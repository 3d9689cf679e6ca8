package probe

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"strings"
	"time"
)

// profilePath is where the profiles are.
const profilePath = "/debug/pprof/"

// How long a profile of the CPU, or a trace, may take.
const (
	DefaultSeconds = 30
	MaxSeconds     = 120
)

// MinToken is how many bytes a token of Bearer has at least.
const MinToken = 16

// Bearer returns a function for Config.Debug that lets requests in which have the token in their header Authorization, as
// "Bearer <token>". It compares in constant time. A token of fewer than MinToken bytes, as that of a variable of the environment
// which is not set, lets nobody in.
func Bearer(token string) func(*http.Request) bool {
	want := sha256.Sum256([]byte(token))
	return func(r *http.Request) bool {
		scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		sum := sha256.Sum256([]byte(got))
		return subtle.ConstantTimeCompare(sum[:], want[:]) == 1 && len(token) >= MinToken && strings.EqualFold(scheme, "Bearer")
	}
}

// guarded serves those whom may lets in.
func guarded(may func(*http.Request) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if !may(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "not allowed", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// listProfiles writes the names of the profiles, each in a line.
func listProfiles(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, p := range pprof.Profiles() {
		fmt.Fprintln(w, p.Name())
	}
	fmt.Fprintln(w, "profile\ntrace")
}

// writeProfile writes one profile, as `go tool pprof` reads it from a URL.
func writeProfile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	whole := func(start func(io.Writer) error, stop func()) {
		long, err := seconds(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		if err := start(w); err != nil { // another one is being made
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		defer stop()
		select {
		case <-time.After(long):
		case <-r.Context().Done():
		}
	}
	switch name {
	case "profile":
		whole(pprof.StartCPUProfile, pprof.StopCPUProfile)
		return
	case "trace":
		whole(trace.Start, trace.Stop)
		return
	}
	p := pprof.Lookup(name)
	if p == nil {
		http.Error(w, "no such profile", http.StatusNotFound)
		return
	}
	debug, _ := strconv.Atoi(r.FormValue("debug")) // 0: the form that tools read
	if w.Header().Set("Content-Type", "application/octet-stream"); debug > 0 {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	_ = p.WriteTo(w, debug) // if the client is gone, nobody misses it
}

// seconds is how long a request wants a profile to take.
func seconds(r *http.Request) (time.Duration, error) {
	text := r.FormValue("seconds")
	if text == "" {
		return DefaultSeconds * time.Second, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > MaxSeconds {
		return 0, fmt.Errorf("seconds=%q: want 1 to %d", text, MaxSeconds)
	}
	return time.Duration(n) * time.Second, nil
}
