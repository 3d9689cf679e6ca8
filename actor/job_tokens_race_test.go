//go:build race

package actor_test

// manyTokens is how many tokens are outstanding at the same time. The race detector is slow.
const manyTokens = 10_000
