package ledger_test

import (
	"fmt"
	"log"
	"time"

	"github.com/tandem-go/tandem/ledger"
)

// A store keeps a sequence of changes. A ledger is the state that results from them.
func ExampleLedger() {
	grant := [16]byte{1}
	started, finished := ledger.ID{Grant: grant, Seq: 1}, ledger.ID{Grant: grant, Seq: 2}
	at := time.Unix(1_000_000, 0)
	l := ledger.New()
	for _, c := range []ledger.Change{
		{Op: ledger.Opened, ID: ledger.ID{Grant: grant}, Time: at, Owner: "tls:ann"},
		{Op: ledger.Begun, ID: started, Time: at},
		{Op: ledger.Begun, ID: finished, Time: at},
		{Op: ledger.Done, ID: finished, Time: at, Outcome: []byte("ok")},
	} {
		l.Apply(c)
	}
	owner, known := l.Owner(grant)
	fmt.Println(owner, known)
	_, found := l.Session(func(g [16]byte) bool { return g == grant })
	fmt.Println(found)
	for _, id := range []ledger.ID{started, finished, {Grant: grant, Seq: 3}} {
		page, found := l.Lookup(id)
		fmt.Printf("%d: begun %v, outcome %q, found %v\n", id.Seq, page.Begun, page.Outcome, found)
	}

	// When a store is rewritten, it gets what is left after the removal of what is too old.
	for c := range l.Expired(at.Add(time.Hour), func([16]byte) bool { return false }) {
		l.Apply(c)
	}
	left := 0
	for range l.All() {
		left++
	}
	fmt.Println(left, "changes are left, about", l.Bytes(), "bytes")
	// Output:
	// tls:ann true
	// true
	// 1: begun true, outcome "", found true
	// 2: begun true, outcome "ok", found true
	// 3: begun false, outcome "", found false
	// 0 changes are left, about 0 bytes
}

// Stores keep changes in encoded form.
func ExampleChange_Append() {
	c := ledger.Change{Op: ledger.Done, ID: ledger.ID{Seq: 7}, Time: time.Unix(1_000_000, 0).UTC(), Outcome: []byte("ok")}
	b := c.Append(nil)
	fmt.Println(len(b) == c.Size())
	got, rest, err := ledger.ParseChange(b)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(got.Op, got.ID.Seq, string(got.Outcome), len(rest))
	// Output:
	// true
	// done 7 ok 0
}
