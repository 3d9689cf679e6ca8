package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestDraw(t *testing.T) {
	c := chart{title: "Title & all", xLabel: "callers", yLabel: "ops/s", ticks: []tick{{1, "1"}, {1000, "1 k"}}, lines: []chartLine{
		{name: "first", spots: []spot{{1, 10, 8, 12}, {1000, 5000, 0, 0}}},
		{name: "second", dashed: true, spots: []spot{{1, 20, 0, 0}, {1000, 0, 0, 0}}}, // 0 has no place
		{name: "nothing"},
	}}
	for _, linear := range []bool{false, true} {
		c.linearY = linear
		var one, two bytes.Buffer
		if err := c.draw(&one); err != nil {
			t.Fatal(err)
		}
		if err := c.draw(&two); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Error("the same chart gave two plots")
		}
		if one.Len() > 100<<10 {
			t.Errorf("%d bytes", one.Len())
		}
		for _, want := range []string{"first", "second", "1 k", "callers", "ops/s"} {
			if !strings.Contains(one.String(), want) {
				t.Errorf("no %q in the plot", want)
			}
		}
		for dec := xml.NewDecoder(&one); ; {
			if _, err := dec.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("no XML: %v", err)
			}
		}
	}
	if err := (chart{lines: []chartLine{{name: "nothing"}}}).draw(io.Discard); err == nil {
		t.Error("an empty chart was drawn")
	}
}

func TestDecades(t *testing.T) {
	var labels []string
	for _, d := range decades(3, 40) {
		labels = append(labels, d.label)
	}
	if got := strings.Join(labels, ","); got != "1,2,5,10,20,50,100,200,500" {
		t.Error(got)
	}
	if got := len(decades(1, 1e6)); got != 7 {
		t.Errorf("%d ticks in six decades", got)
	}
}
