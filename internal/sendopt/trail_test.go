package sendopt_test

import (
	"testing"

	"github.com/tandem-go/tandem/internal/sendopt"
)

// A trail has MaxSteps steps; what comes after them is counted.
func TestTrailIsBounded(t *testing.T) {
	var trail sendopt.Trail
	for i := range sendopt.MaxSteps {
		trail.Add(sendopt.Step{Attempt: i})
	}
	if len(trail.Steps) != sendopt.MaxSteps || trail.Lost != 0 {
		t.Fatal(len(trail.Steps), trail.Lost)
	}
	trail.Add(sendopt.Step{Attempt: -1})
	if n := len(trail.Steps); n != sendopt.MaxSteps || trail.Lost != 1 || trail.Steps[n-1].Attempt != n-1 {
		t.Error(n, trail.Lost)
	}
}
