// Package gateways has the tests of gateways with real processes: nodes that host stored actors and open them to clients
// over HTTP are killed, while clients send the same requests again under their keys, to whatever gateway.
package gateways
