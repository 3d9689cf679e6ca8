package httpapi_test

import (
	"log/slog"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/httpapi"
	"github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/bubble"
)

// What a stored actor has answered under a key is marked as recorded also if another activation says it, from what is stored:
// replies and errors of the application.
func TestReplaysOfAnotherActivation(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		states := memory.New(memory.Config{})
		for _, replayed := range []string{"", "true"} {
			sys, err := actor.NewSystem(actor.Config{Name: "bank", Kinds: []*actor.Kind{accountKind}, States: states, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			table, err := gateway.New(sys, gateway.Virtual("account", accountKind))
			if err != nil {
				t.Fatal(err)
			}
			h, err := httpapi.New(table, httpapi.Config{})
			if err != nil {
				t.Fatal(err)
			}
			r := rig{sys, h}
			want(t, "a reply", r.do(t, "POST", "/account/ann/Deposit", `{"Amount": 5}`, "Idempotency-Key", "a"), 200, "5", "Tandem-Replayed", replayed, "Tandem-Ran", "yes")
			want(t, "an error", r.do(t, "POST", "/account/ann/Deposit", `{"Amount": -9}`, "Idempotency-Key", "b"), 422, "", "Tandem-Replayed", replayed, "Tandem-Ran", "yes")
			want(t, "another body", r.do(t, "POST", "/account/ann/Deposit", `{"Amount": 6}`, "Idempotency-Key", "a"), 422, "", "Tandem-Replayed", "")
			if err := sys.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
