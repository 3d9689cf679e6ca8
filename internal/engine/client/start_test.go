package client

import "testing"

// What was agreed upon with a start of a node holds for its later sessions too, and ends with the first one at another start.
func TestStartEndsWithTheEpoch(t *testing.T) {
	p := &peer{}
	p.started() // nobody has asked for it
	p.epoch = "one"
	one := &Start{epoch: "one"}
	p.start = one
	p.started()
	if one.Over() || p.start != one {
		t.Fatal("it ended with a further session")
	}
	p.epoch = "two"
	p.started()
	if !one.Over() || p.start != nil {
		t.Error("it did not end with another start of the node")
	}
}
