// Package prometheus serves what a system of Tandem does to Prometheus.
//
//	cfg := actor.Config{Name: "shop"}
//	metrics, err := prometheus.Instrument(&cfg, tandemotel.Config{})
//	http.Handle("/metrics", metrics)
//
// The metrics are those of package tandemotel, with names and units as Prometheus has them: tandem.client.duration
// is tandem_client_duration_seconds. With them come those of the Go runtime and of the process.
package prometheus

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/tandem-go/tandem/actor"
	tandemotel "github.com/tandem-go/tandem/otel"
)

// Instrument is tandemotel.Instrument, and returns a handler that serves the metrics. It sets with.Meters. A
// handler that is called before the system has started, or after it has ended, serves what there is.
// Its errors wrap tandemotel.ErrConfig.
func Instrument(cfg *actor.Config, with tandemotel.Config) (http.Handler, error) {
	if with.Meters != nil {
		return nil, fmt.Errorf("%w: Meters is set, and Prometheus gets the metrics", tandemotel.ErrConfig)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", tandemotel.ErrConfig, err)
	}
	with.Meters = metric.NewMeterProvider(metric.WithReader(exporter))
	if err := tandemotel.Instrument(cfg, with); err != nil {
		return nil, err
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 4}), nil
}
