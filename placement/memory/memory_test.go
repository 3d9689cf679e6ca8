package memory_test

import (
	"testing"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/placement/claimtest"
	"github.com/tandem-go/tandem/placement/memory"
)

func TestConformance(t *testing.T) {
	claimtest.Run(t, claimtest.Config{Open: func(*testing.T) func() placement.Claims {
		c := memory.New()
		return func() placement.Claims { return c }
	}})
}
