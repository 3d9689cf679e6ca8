// Package gateways has the tests of gateways with real processes: nodes that host stored actors and instances of a
// service, and open them to clients over HTTP and over NATS, are killed, while clients send the same requests again under their keys, to whatever gateway.
package gateways
