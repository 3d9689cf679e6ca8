//go:build !race

package actor_test

// manyTokens are outstanding at once.
const manyTokens = 100_000
