// Package dns tests registry/dns with a DNS server. It is a module of its own, so that Tandem needs none.
package dns
