package server

import (
	"testing"
	"time"
)

func TestSkew(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	var s skew
	expect := func(what string, stamp, now, want time.Duration) {
		t.Helper()
		if got := s.age(stamp, now); got != want {
			t.Errorf("%s: %v old, want %v: %+v", what, got, want, s)
		}
	}
	expect("nothing is known", ms(10), ms(9000), 0)

	// The peer's clock is 5000 ms ahead; the first answer took 100 ms.
	s.add(ms(1000), ms(1100), ms(6050))
	expect("sent just now", ms(6100), ms(1100), 0)
	expect("sent 500 ms ago, of which 50 may be an error", ms(6100), ms(1600), ms(450))

	// A quicker answer is more precise, and a slower one after it changes nothing but the
	// drift.
	s.add(ms(2000), ms(2002), ms(7001))
	expect("known within 2 ms", ms(7000), ms(2500), ms(499))
	s.add(ms(3000), ms(3900), ms(8010))
	expect("and still", ms(7000), ms(2500), ms(498))

	// Then this node's machine was suspended for a minute, and its clock stood still.
	s.add(ms(4000), ms(4010), ms(69005))
	expect("the clocks have come apart", ms(69100), ms(4200), ms(95))

	// A time in the future counts as no age.
	expect("from the future", ms(99999), ms(4200), 0)
}
