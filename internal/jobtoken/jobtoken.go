// Package jobtoken has the inside of rpc.Token.
package jobtoken

import "context"

// Token is the name of a job and who can find out about it. S is the status of a job.
type Token[S any] struct {
	text string
	by   Redeemer[S]
}

// Redeemer finds out about jobs. Its methods may be called concurrently.
type Redeemer[S any] interface {
	// PollJob returns the status of a job.
	PollJob(ctx context.Context, token string) (S, error)
	// AwaitJob waits until a job is over and decodes its result.
	AwaitJob(ctx context.Context, token string, result any) error
	// CancelJob has a job end early, and returns its status after that.
	CancelJob(ctx context.Context, token string) (S, error)
}

// New returns the token of that text.
func New[S any](text string, by Redeemer[S]) Token[S] { return Token[S]{text, by} }

// Text is the token as text.
func (t Token[S]) Text() string { return t.text }

// Redeemer is who finds out about the job; nil if the token is the zero value.
func (t Token[S]) Redeemer() Redeemer[S] { return t.by }
