//go:build race

package actor_test

// manyTokens are outstanding at once: the race detector makes them slow.
const manyTokens = 10_000
