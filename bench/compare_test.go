package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestReadRows(t *testing.T) {
	rows, err := readRows([]byte(`{"scenario":"a","peer":"p","ops_per_s":5}` + "\n" + `{"scenario":"b","peer":"p","errors":1,"unknown":3}` + "\n"))
	if err != nil || len(rows) != 2 || rows[0].OpsPerS != 5 || rows[1].Errors != 1 {
		t.Errorf("%+v, %v", rows, err)
	}
	if _, err := readRows([]byte(`{"scenario":"a"} what`)); err == nil {
		t.Error("no error for what is no JSON")
	}
}

func TestContest(t *testing.T) {
	var c contest
	for i, ops := range [][2]float64{{10, 20}, {30, 60}, {20, 50}, {10, 1}} { // that, this
		c.add(i%2 == 0, []row{{Scenario: "s", Peer: "p", OpsPerS: ops[i%2^1], P50: 1, P99: 1, CPU: 1, Allocs: 1}})
		c.add(i%2 == 1, []row{{Scenario: "s", Peer: "p", OpsPerS: ops[i%2], P50: 1, P99: 1, CPU: 1, Allocs: 1}})
	}
	c.add(true, []row{{Scenario: "old", Peer: "p", OpsPerS: 7}, {Scenario: "s", Peer: "broken", Errors: 1, Err: "why"}})
	var out bytes.Buffer
	if err := c.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"only in one", "FAILED s broken: 1 errors: why"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

func TestTrend(t *testing.T) {
	for _, c := range []struct {
		ratios []float64
		want   string
	}{
		{[]float64{1.1, 1.2, 1.1, 1.3, 1.01}, "faster"}, {[]float64{0.9, 0.8, 0.9, 0.99, 0.7}, "slower"},
		{[]float64{1.1, 1.2, 1.1, 1.3, 0.9}, ""}, {[]float64{2, 2, 2, 2}, ""}, {nil, ""},
	} {
		if got := trend(c.ratios); got != c.want {
			t.Errorf("%v: %q, want %q", c.ratios, got, c.want)
		}
	}
}

func TestMiddleHalf(t *testing.T) {
	for _, c := range []struct {
		values    []float64
		low, high float64
	}{
		{nil, 0, 0}, {[]float64{4}, 4, 4}, {[]float64{3, 1, 2}, 1, 3}, {[]float64{7, 1, 2, 3, 4, 5, 6}, 2, 6},
	} {
		if low, high := middleHalf(c.values); low != c.low || high != c.high {
			t.Errorf("of %v: %v to %v", c.values, low, high)
		}
	}
}
