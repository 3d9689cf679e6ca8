// What the README says of clients outside of the cluster runs.
package main_test

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
	"github.com/tandem-go/tandem/state/memory"
)

func open(sys *actor.System, who func(*http.Request) (string, error)) (http.Handler, error) {
	table, err := gateway.New(sys, gateway.Virtual("wallet", WalletKind)) // nothing else is open
	if err != nil {
		return nil, err
	}
	return httpapi.New(table, httpapi.Config{Principal: who, RequireKey: true, Docs: true})
}

func TestReadmeGateway(t *testing.T) {
	sys, err := actor.NewSystem(actor.Config{Kinds: []*actor.Kind{WalletKind}, States: memory.New(memory.Config{}), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Shutdown(t.Context())
	h, err := open(sys, func(r *http.Request) (string, error) {
		if user, _, ok := r.BasicAuth(); ok {
			return "web:" + user, nil
		}
		return "", errors.New("nobody")
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	give := func(key string) (status int, body, replayed string) {
		r, err := http.NewRequest("POST", server.URL+"/wallet/ann/Give", bytes.NewReader([]byte(`{"To": "shop.wallet/bob@~", "Amount": 5}`)))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("ann", "secret")
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", key)
		a, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, string(b), a.Header.Get("Tandem-Replayed")
	}
	for i, want := range []struct{ key, body, replayed string }{{`"order 17"`, "95", ""}, {`"order 17"`, "95", "true"}, {`"order 18"`, "90", ""}} {
		if status, body, replayed := give(want.key); status != 200 || body != want.body || replayed != want.replayed {
			t.Errorf("request %d: %d %s, replayed %q", i, status, body, replayed)
		}
	}
}
