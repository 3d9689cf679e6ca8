# Thin wrappers around .ci/run, which is the one place that says how things are checked.

.PHONY: test race lint fuzz examples ci

test:
	go test ./...

race:
	bash .ci/run race

lint:
	bash .ci/run gofmt tidy vet staticcheck

fuzz:
	bash .ci/run fuzz

examples:
	bash .ci/run examples

ci:
	bash .ci/run
