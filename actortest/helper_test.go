package actortest_test

import (
	"flag"
	"fmt"
	"testing"
)

// inTest runs body as a test. What the test logs is shown if it fails.
func inTest(body func(t *testing.T)) {
	for name, value := range map[string]string{"test.v": "false", "test.count": "1", "test.cpu": ""} { // of the tests around it
		f := flag.Lookup(name)
		before := f.Value.String()
		if err := f.Value.Set(value); err != nil {
			panic(err)
		}
		defer f.Value.Set(before)
	}
	all := func(string, string) (bool, error) { return true, nil }
	if !testing.RunTests(all, []testing.InternalTest{{Name: "Test", F: body}}) {
		fmt.Println("the test has failed")
	}
}
