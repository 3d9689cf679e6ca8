// Package tracekey has the key under which a context holds a trace context, for contexts
// that keep it without context.WithValue.
package tracekey

// Key is the key. Its value is a transport.Trace.
type Key struct{}
