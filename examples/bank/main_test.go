package main

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state/memory"
)

// The bank processes that a test starts are this program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-bank" {
		main()
		return
	}
	os.Exit(m.Run())
}

// The program checks itself: it fails unless the accounts agree with what senders were told.
func TestKills(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster of three")
	}
	var out bytes.Buffer
	err := run(t.Context(), &out, 2)
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "kill -9 ") != 2 || !regexp.MustCompile(`(?m)^\s*\d+\s+\d+\s+\d+\s+2\s+\d+\s+0\s+0\s+0\s+\S+\s+4000\s+4000\s*$`).MatchString(out.String()) {
		t.Error("the table is not as expected")
	}
}

// An account without enough money keeps what it has, and sends nothing.
func TestAccount(t *testing.T) {
	sys, err := actor.NewSystem(actor.Config{Kinds: []*actor.Kind{AccountKind}, States: memory.New(memory.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Shutdown(t.Context())
	alice, bob := sys.Virtual(AccountKind, "alice"), sys.Virtual(AccountKind, "bob")
	for _, c := range []struct {
		what    string
		do      func() (int64, error)
		balance int64
		err     error
	}{
		{"deposit", func() (int64, error) { return actor.Call(t.Context(), alice, Deposit{Amount: 50}) }, 50, nil},
		{"withdrawal", func() (int64, error) { return actor.Call(t.Context(), alice, Withdraw{Amount: 20}) }, 30, nil},
		{"too large a withdrawal", func() (int64, error) { return actor.Call(t.Context(), alice, Withdraw{Amount: 31}) }, 0, ErrFunds},
		{"too large a transfer", func() (int64, error) { return actor.Call(t.Context(), alice, Transfer{Number: 1, Amount: 31, To: bob}) }, 0, ErrFunds},
		{"transfer", func() (int64, error) { return actor.Call(t.Context(), alice, Transfer{Number: 2, Amount: 30, To: bob}) }, 0, nil},
		{"what is left", func() (int64, error) { return actor.Call(t.Context(), alice, Balance{}) }, 0, nil},
	} {
		if balance, err := c.do(); balance != c.balance || !errors.Is(err, c.err) {
			t.Errorf("%s: %d, %v", c.what, balance, err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		got, err := actor.Call(t.Context(), bob, Statement{})
		if err != nil || time.Now().After(deadline) {
			t.Fatal("the money does not arrive", got, err)
		}
		if got.Balance == 30 && len(got.Received) == 1 && got.Received[0] == 2 {
			break
		}
	}
}

// The report fails for each kind of wrong result.
func TestReport(t *testing.T) {
	sound := func() (*desk, books) {
		return &desk{outcomes: map[int]error{1: nil, 2: ErrFunds}}, books{total: 4000, sent: map[int]int{1: 1}, received: map[int]int{1: 1}}
	}
	for _, c := range []struct {
		what string
		harm func(*desk, *books)
		want string // in the error; empty: there is none
	}{
		{"nothing", func(*desk, *books) {}, ""},
		{"the effect is doubled", func(_ *desk, b *books) { b.sent[1] = 2 }, "1 transfers were made too often, 0 were lost"},
		{"the message is doubled", func(_ *desk, b *books) { b.received[1] = 2 }, "1 transfers were made too often, 0 were lost"},
		{"a refused one was made", func(_ *desk, b *books) { b.sent[2] = 1 }, "1 transfers were made too often, 0 were lost"},
		{"the effect is lost", func(_ *desk, b *books) { delete(b.sent, 1) }, "0 transfers were made too often, 1 were lost"},
		{"the message is lost", func(_ *desk, b *books) { delete(b.received, 1) }, "0 transfers were made too often, 1 were lost"},
		{"money is lost", func(_ *desk, b *books) { b.total-- }, "4000 has become 3999"},
		{"an outcome is unknown", func(d *desk, _ *books) { d.outcomes[1] = rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "nobody knows") }, "transfer 1: "},
	} {
		d, b := sound()
		c.harm(d, &b)
		err := d.report(new(bytes.Buffer), 4000, b, 2, 9)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	d, b := sound()
	if err := d.report(new(bytes.Buffer), 4000, b, 2, 0); err == nil {
		t.Error("no request was made again, and the report does not fail")
	}
}
