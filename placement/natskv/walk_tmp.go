package natskv

import (
	"context"
	"iter"

	"github.com/tandem-go/tandem/placement"
)

func (c *Claims) Walk(ctx context.Context, kind string) iter.Seq2[placement.Found, error] {
	return func(yield func(placement.Found, error) bool) {}
}
