package httpapi_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/httpapi"
)

// BenchmarkHTTP compares requests to an actor over HTTP with an echo by net/http alone, from as many clients in the same
// run: with and without a key, and from 1 and 64 clients.
func BenchmarkHTTP(b *testing.B) {
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
	for _, clients := range []struct {
		name string
		n    int
	}{{"1", 1}, {"64", 32}} { // times GOMAXPROCS
		for _, path := range []string{"/echo", "/desk/Deposit"} {
			b.Run(path[1:]+"-"+clients.name, func(b *testing.B) {
				do := func() {
					r, err := http.NewRequest("POST", server.URL+path, bytes.NewReader([]byte(`{"Amount":1}`)))
					if err != nil {
						b.Fatal(err)
					}
					r.Header.Set("Content-Type", "application/json")
					a, err := client.Do(r)
					if err != nil {
						b.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, a.Body)
					a.Body.Close()
					if a.StatusCode != 200 {
						b.Fatal(a.Status)
					}
				}
				if clients.n == 1 {
					for b.Loop() {
						do()
					}
					return
				}
				b.SetParallelism(clients.n)
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						do()
					}
				})
			})
		}
	}
}
