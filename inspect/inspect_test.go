package inspect_test

import (
	"testing"

	"github.com/tandem-go/tandem/inspect"
)

func TestFilter(t *testing.T) {
	a := inspect.Actor{Name: "shop/cart", Kind: "shop.cart", Stage: inspect.Working}
	for f, want := range map[inspect.Filter]bool{
		{}:                          true,
		{Kind: "shop.cart"}:         true,
		{Kind: "shop"}:              false,
		{Prefix: "shop/"}:           true,
		{Prefix: "cart"}:            false,
		{Stage: inspect.Working}:    true,
		{Stage: inspect.Suspended}:  false,
		{"shop.cart", "shop/", "x"}: false,
	} {
		if f.Match(a) != want {
			t.Errorf("%+v: %v", f, !want)
		}
	}
}
