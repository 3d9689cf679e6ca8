package prometheus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/tandem-go/tandem/actor"
	tandemotel "github.com/tandem-go/tandem/otel"
	"github.com/tandem-go/tandem/otel/prometheus"
)

// Three lines in main.
func ExampleInstrument() {
	cfg := actor.Config{Name: "shop", Logger: slog.New(slog.DiscardHandler)}
	metrics, err := prometheus.Instrument(&cfg, tandemotel.Config{})
	http.Handle("/metrics", metrics)
	fmt.Println(err)

	sys, err := actor.NewSystem(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Shutdown(context.Background())
	w := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.Contains(line, "tandem_node_ready") {
			fmt.Print(line)
		}
	}
	// Output:
	// <nil>
	// # HELP tandem_node_ready 1 while the node serves: it has started, and does not shut down.
	// # TYPE tandem_node_ready gauge
	// tandem_node_ready{node="shop"} 1
}

// Before the system has started and after it has ended, what there is is served.
func TestScrapeOutsideOfLife(t *testing.T) {
	cfg := actor.Config{Name: "shop", Logger: slog.New(slog.DiscardHandler)}
	h, err := prometheus.Instrument(&cfg, tandemotel.Config{})
	if err != nil {
		t.Fatal(err)
	}
	scrape := func() int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if w.Code != http.StatusOK {
			t.Fatal(w.Code, w.Body)
		}
		p := expfmt.NewTextParser(model.UTF8Validation)
		all, err := p.TextToMetricFamilies(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if all["go_goroutines"] == nil {
			t.Error("no metrics of the runtime")
		}
		return len(all)
	}
	before := scrape()
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if scrape() <= before {
		t.Error("nothing of the system")
	}
	if err := sys.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	scrape()
}

// A provider of the application's own would get nothing.
func TestMetersRefused(t *testing.T) {
	_, err := prometheus.Instrument(new(actor.Config), tandemotel.Config{Meters: sdkmetric.NewMeterProvider()})
	if !errors.Is(err, tandemotel.ErrConfig) {
		t.Error(err)
	}
}
