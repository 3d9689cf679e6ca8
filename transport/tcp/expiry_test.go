package tcp

import (
	"crypto/x509"
	"math/big"
	"slices"
	"testing"
	"time"
)

// The life of a certificate begins at 0. The table says what is logged at the times of the checks.
func TestExpiries(t *testing.T) {
	const day = 24 * time.Hour
	type look struct {
		at   time.Duration
		want expiry
	}
	for name, tt := range map[string]struct {
		life  time.Duration
		looks []look
	}{
		"ninety days": {90 * day, []look{{0, notSoon}, {60*day - 1, notSoon}, {60 * day, soon}, {60 * day, notSoon}, {89*day - 1, notSoon},
			{89 * day, lastDay}, {90 * day, notSoon}, {90*day + 1, expired}, {91 * day, notSoon}}},
		"an hour":             {time.Hour, []look{{39 * time.Minute, notSoon}, {40 * time.Minute, soon}, {49 * time.Minute, notSoon}, {50 * time.Minute, lastDay}, {61 * time.Minute, expired}}},
		"first looked late":   {90 * day, []look{{89*day + time.Hour, lastDay}, {89*day + 2*time.Hour, notSoon}}},
		"expired at once":     {90 * day, []look{{100 * day, expired}, {101 * day, notSoon}}},
		"the clock goes back": {90 * day, []look{{61 * day, soon}, {1 * day, notSoon}, {62 * day, notSoon}}},
	} {
		t.Run(name, func(t *testing.T) {
			var e expiries
			begin := time.Unix(0, 0)
			c := &x509.Certificate{NotBefore: begin, NotAfter: begin.Add(tt.life), SerialNumber: big.NewInt(1)}
			for i, l := range tt.looks {
				if got := e.judge(c, begin.Add(l.at)); got != l.want {
					t.Errorf("look %d, at %v: %d, want %d", i, l.at, got, l.want)
				}
			}
		})
	}
}

// A certificate that replaces another one is judged by itself.
func TestExpiriesOfTheNextCertificate(t *testing.T) {
	var e expiries
	begin := time.Unix(0, 0)
	first := &x509.Certificate{NotBefore: begin, NotAfter: begin.Add(90 * time.Hour), SerialNumber: big.NewInt(1)}
	next := &x509.Certificate{NotBefore: begin.Add(70 * time.Hour), NotAfter: begin.Add(160 * time.Hour), SerialNumber: big.NewInt(2)}
	var got []expiry
	for h := range 161 {
		c := first
		if h >= 70 {
			c = next
		}
		if is := e.judge(c, begin.Add(time.Duration(h)*time.Hour)); is != notSoon {
			got = append(got, is)
		}
	}
	if !slices.Equal(got, []expiry{soon, soon, lastDay}) {
		t.Errorf("%v", got)
	}
}
