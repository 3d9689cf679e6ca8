// Package observed tests what operators get, deploy/prometheus and deploy/grafana, with the parser and the engine of
// Prometheus, against systems that run. It is a module of its own because of those.
package observed
