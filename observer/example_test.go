package observer_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/observer"
)

// A page on a node, for those who give the token.
func ExampleNew() {
	quiet := slog.New(slog.DiscardHandler)
	sys, err := actor.NewSystem(actor.Config{Name: "till-1", Logger: quiet, Setup: func(sys *actor.System) error { return admin.Open(sys, admin.Config{Logger: quiet}) }})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = sys.Shutdown(context.Background()) }()
	page, err := observer.New(admin.Of(sys), observer.Config{Token: "a long and random text"})
	if err != nil {
		log.Fatal(err)
	}
	defer page.Close() // before http.Server.Shutdown
	mux := http.NewServeMux()
	mux.Handle("/observer/", http.StripPrefix("/observer", page))
	server := httptest.NewServer(mux)
	defer server.Close()

	for _, path := range []string{"", "live"} {
		r, err := http.Get(server.URL + "/observer/" + path)
		if err != nil {
			log.Fatal(err)
		}
		r.Body.Close()
		fmt.Println(r.Status)
	}
	// Output:
	// 200 OK
	// 401 Unauthorized
}
