package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// asProgram makes this test binary behave as the program itself. It is in the
// environment of every process that a test starts, so the bank is this binary too.
const asProgram = "LEDGER_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Setenv(asProgram, "1")
	os.Exit(m.Run())
}

// The program checks itself: it fails unless the books agree with what senders were
// told, and unless replies were lost and replayed.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out strings.Builder
	if err := run(ctx, &out, 1200, 5); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "Every transfer is in the books") {
		t.Error(out.String())
	}
}

// crash sends one transfer to a bank that dies at it, and lets the bank come back. It
// returns what the sender gets, and what the books say.
func crash(t *testing.T, o bankOptions, opts ...rpc.Option) (Receipt, audit, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o.dieAt = 1
	b, shut, err := open(ctx, o, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := shut(); err != nil {
			t.Error(err)
		}
	}()
	if err := b.restart(ctx); err != nil {
		t.Fatal(err)
	}
	f := actor.Ask(ctx, b.bank, Transfer{Number: 7, From: account(0), To: account(1), Amount: 50}, opts...)
	b.died()
	b.die = ""
	if err := b.restart(ctx); err != nil {
		t.Fatal(err)
	}
	receipt, askErr := f.Await(ctx)
	if err := b.end(); err != nil {
		t.Fatal(err)
	}
	books, err := openBooks(ctx, b.file)
	if err != nil {
		t.Fatal(err)
	}
	defer books.Close()
	found, err := auditBooks(ctx, books)
	if err != nil || found.wrong > 0 || found.sum != accounts*opening {
		t.Errorf("%+v, %v", found, err)
	}
	return receipt, found, askErr
}

// What a crash at the worst moments means, with the hook and without.
func TestCrashAtCommit(t *testing.T) {
	once, key, anew := rpc.WithRetry(rpc.Retry{Attempts: 1}), rpc.Key("order-7"), rpc.Idempotent()
	for _, c := range []struct {
		what   string
		bank   bankOptions
		opts   []rpc.Option
		start  int // of the receipt; 0: there is none
		code   rpc.Code
		ran    rpc.Verdict
		booked int
	}{
		{"after the commit", bankOptions{die: "after"}, nil, 1, 0, rpc.HasRun, 1},
		{"after the commit, keyed", bankOptions{die: "after"}, []rpc.Option{key}, 1, 0, rpc.HasRun, 1},
		{"after the commit, made anew if nobody knew", bankOptions{die: "after"}, []rpc.Option{anew}, 1, 0, rpc.HasRun, 1},
		{"before the commit", bankOptions{die: "before"}, []rpc.Option{once}, 0, rpc.Unavailable, rpc.NotRun, 0},
		{"before the commit, made anew", bankOptions{die: "before"}, nil, 2, 0, rpc.HasRun, 1},
		{"before the commit, keyed", bankOptions{die: "before"}, []rpc.Option{key}, 0, rpc.OutcomeUnknown, rpc.Unknown, 0},
		{"before the commit, keyed, made anew", bankOptions{die: "before"}, []rpc.Option{key, anew}, 2, 0, rpc.HasRun, 1},
		{"after the commit, no hook", bankOptions{die: "after", forgetful: true}, nil, 0, rpc.OutcomeUnknown, rpc.Unknown, 1},
		{"before the commit, no hook", bankOptions{die: "before", forgetful: true}, nil, 0, rpc.OutcomeUnknown, rpc.Unknown, 0},
		{"after the commit, no hook, made anew", bankOptions{die: "after", forgetful: true}, []rpc.Option{anew}, 2, 0, rpc.HasRun, 2},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			receipt, found, err := crash(t, c.bank, c.opts...)
			if receipt.Start != c.start || rpc.CodeOf(err) != c.code || rpc.Ran(err) != c.ran {
				t.Errorf("%+v, %v, ran: %v", receipt, err, rpc.Ran(err))
			}
			if found.times[7] != c.booked {
				t.Errorf("it is in the books %d times, want %d", found.times[7], c.booked)
			}
		})
	}
}
