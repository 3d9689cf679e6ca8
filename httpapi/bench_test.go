package httpapi_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/httpapi"
	"github.com/tandem-go/tandem/test/turns"
)

// BenchmarkBesideEcho compares requests to an actor over HTTP with an echo by net/http alone, from one client and from 64. Both
// take turns, see turns.Compare.
func BenchmarkBesideEcho(b *testing.B) {
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer sys.Shutdown(b.Context())
	desk, err := sys.Spawn("desk", deskKind)
	if err != nil {
		b.Fatal(err)
	}
	table, err := gateway.New(sys, gateway.Actor("desk", desk, deskKind))
	if err != nil {
		b.Fatal(err)
	}
	h, err := httpapi.New(table, httpapi.Config{})
	if err != nil {
		b.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/desk/", h)
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}}
	ask := func(path string) func(int) error {
		return func(int) error {
			r, err := http.NewRequest("POST", server.URL+path, bytes.NewReader([]byte(`{"Amount":1}`)))
			if err != nil {
				return err
			}
			r.Header.Set("Content-Type", "application/json")
			a, err := client.Do(r)
			if err != nil {
				return err
			}
			defer a.Body.Close()
			if _, err = io.Copy(io.Discard, a.Body); err == nil && a.StatusCode != 200 {
				err = errors.New(a.Status)
			}
			return err
		}
	}
	turns.Compare(b, []int{1, 64}, ask("/echo"), ask("/desk/Deposit"))
}
