//go:build !race

package actor_test

// manyTokens is how many tokens are outstanding at the same time.
const manyTokens = 100_000
