package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/httpapi"
)

// A request that is sent again under its key runs once.
func Example() {
	ctx := context.Background()
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Shutdown(ctx)
	desk, err := sys.Spawn("desk", deskKind)
	if err != nil {
		fmt.Println(err)
		return
	}
	table, err := gateway.New(sys, gateway.Actor("desk", desk, deskKind))
	if err != nil {
		fmt.Println(err)
		return
	}
	handler, err := httpapi.New(table, httpapi.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	for range 2 {
		r, _ := http.NewRequest("POST", server.URL+"/desk/Deposit", bytes.NewReader([]byte(`{"Amount": 5}`)))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", `"order 17"`)
		answer, err := server.Client().Do(r)
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		fmt.Printf("%d %s ran: %s, replayed: %q\n", answer.StatusCode, body, answer.Header.Get("Tandem-Ran"), answer.Header.Get("Tandem-Replayed"))
	}
	// Output:
	// 200 5 ran: yes, replayed: ""
	// 200 5 ran: yes, replayed: "true"
}
