package supervise_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/supervise"
)

// The first restart is at once, the next ones wait, and then the actor stops.
func ExampleRecord_Next() {
	strategy := supervise.Strategy{Max: 3, Backoff: time.Second}
	var record supervise.Record
	now := time.Unix(0, 0)
	for range 4 {
		is := record.Next(&strategy, now, supervise.Restart, 0.5)
		fmt.Println(is.Directive, is.Delay, record.Restarts(&strategy, now))
		now = now.Add(time.Second)
	}
	// Output:
	// restart 0s 1
	// restart 500ms 2
	// restart 1s 3
	// stop 0s 3
}

// Decide chooses by what has happened.
func ExampleStrategy() {
	errLicence := errors.New("no licence")
	s := supervise.Strategy{Decide: func(f supervise.Failure) supervise.Directive {
		if errors.Is(f.Err, errLicence) {
			return supervise.Stop
		}
		return supervise.Restart
	}}
	fmt.Println(s.Decide(supervise.Failure{Err: errLicence}), s.Validate())
	// Output: stop <nil>
}
