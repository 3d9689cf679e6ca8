package probe_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/probe"
)

func ask(h http.Handler, path string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	fmt.Println(w.Code, w.Body)
}

func ExampleNew() {
	probes := probe.New(probe.Config{})
	ask(probes, "/readyz")
	sys, err := actor.NewSystem(actor.Config{Logger: quiet, Setup: probes.Watch})
	if err != nil {
		log.Fatal(err)
	}
	ask(probes, "/livez")
	ask(probes, "/readyz")
	sys.Shutdown(context.Background())
	ask(probes, "/readyz")
	// Output:
	// 503 {"ok":false,"stage":"starting","checks":[{"name":"life","ok":false,"error":"the system has not been set up yet"}]}
	//
	// 200 {"ok":true,"stage":"serving","checks":[{"name":"loops","ok":true}]}
	//
	// 200 {"ok":true,"stage":"serving","checks":[{"name":"life","ok":true},{"name":"name","ok":true},{"name":"records","ok":true},{"name":"states","ok":true}]}
	//
	// 503 {"ok":false,"stage":"down","checks":[{"name":"life","ok":false,"error":"the node is down"}]}
}

func ExampleBearer() {
	probes := probe.New(probe.Config{Debug: probe.Bearer("a-secret-of-the-operators")})
	r := httptest.NewRequest("GET", "/debug/pprof/", nil)
	w := httptest.NewRecorder()
	probes.ServeHTTP(w, r)
	fmt.Println(w.Code)
	r.Header.Set("Authorization", "Bearer a-secret-of-the-operators")
	w = httptest.NewRecorder()
	probes.ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output:
	// 401
	// 200
}
