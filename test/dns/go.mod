module github.com/tandem-go/tandem/test/dns

go 1.26.0

replace github.com/tandem-go/tandem => ../..

require (
	github.com/miekg/dns v1.1.73
	github.com/tandem-go/tandem v0.0.0-00010101000000-000000000000
)

require (
	github.com/Masterminds/semver/v3 v3.5.0 // indirect
	github.com/adhocore/gronx v1.20.4 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/vmihailenco/msgpack/v5 v5.4.1 // indirect
	github.com/vmihailenco/tagparser/v2 v2.0.0 // indirect
	golang.org/x/net v0.57.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)
