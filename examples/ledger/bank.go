package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

// Transfer moves money from one account to another.
type Transfer struct {
	actor.Returns[Receipt]
	Number int
	From   string
	To     string
	Amount int64
}

// Receipt is the answer. Start says which start of the bank made the transfer.
type Receipt struct {
	Start   int
	Balance int64 // of the account that paid
}

func (Transfer) WireName() string { return "ledger.Transfer" }
func (Receipt) WireName() string  { return "ledger.Receipt" }

// ErrFunds is the answer if there is not enough money. Such a transfer changes nothing in the
// books, so it has no record either: a copy that comes after a crash runs again.
var ErrFunds = rpc.NewError("ledger.funds", "not enough money")

// Ledger is the actor that keeps the books. Everything that must not be lost is in the database.
type Ledger struct {
	bankOptions
	books   *sql.DB
	commits int // since the start
}

// Transfer checks the balance, moves the money, and enters the record of its own completion, all
// in one transaction. After a crash either all of it is there or nothing.
func (l *Ledger) Transfer(ctx *actor.Context, m Transfer) (Receipt, error) {
	tx, err := l.books.BeginTx(ctx, nil)
	if err != nil {
		return Receipt{}, err
	}
	defer tx.Rollback() // does nothing after Commit
	receipt := Receipt{Start: l.start}
	err = tx.QueryRowContext(ctx, `UPDATE accounts SET balance = balance - ?1 WHERE name = ?2 AND balance >= ?1 RETURNING balance`,
		m.Amount, m.From).Scan(&receipt.Balance)
	if errors.Is(err, sql.ErrNoRows) {
		return Receipt{}, ErrFunds
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, `UPDATE accounts SET balance = balance + ? WHERE name = ?`, m.Amount, m.To)
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO transfers VALUES (?, ?, ?, ?)`, m.Number, m.From, m.To, m.Amount)
	}
	if err == nil && !l.forgetful {
		err = l.complete(ctx, tx, receipt)
	}
	if err != nil {
		return Receipt{}, err
	}
	l.commits++
	l.dieIf("before", l.commits)
	if err := tx.Commit(); err != nil {
		return Receipt{}, err
	}
	l.dieIf("after", l.commits)
	return receipt, nil
}

// complete is the hook.
func (l *Ledger) complete(ctx *actor.Context, tx *sql.Tx, receipt Receipt) error {
	id, record, err := actor.Completion(ctx, receipt)
	if err != nil {
		return err
	}
	return completions{l.books}.enter(ctx, tx, id, record)
}

// ledgerKind makes the kind of actor that keeps books.
func ledgerKind(books *sql.DB, o bankOptions) *actor.Kind {
	kind := actor.Define("ledger", func() *Ledger { return &Ledger{books: books, bankOptions: o} }, actor.Answer((*Ledger).Transfer))
	if o.forgetful {
		return kind
	}
	return kind.With(actor.Transactional(completions{books}))
}

// bankOptions are the options of a bank process.
type bankOptions struct {
	file      string // the database
	listen    string // address on TCP
	nats      string // URL
	start     int    // 1 for the first start, and so on
	die       string // the process kills itself "before" or "after" a commit; empty: it does not
	dieAt     int    // which commit since the start that is
	forgetful bool   // enter no records; for tests
}

// args returns the options as the command line of a bank process.
func (o bankOptions) args() []string {
	return []string{"-bank", "-file", o.file, "-listen", o.listen, "-nats", o.nats, "-start", fmt.Sprint(o.start),
		"-die", o.die, "-die-at", fmt.Sprint(o.dieAt), fmt.Sprintf("-forgetful=%t", o.forgetful)}
}

// dieIf kills this process if the options say so for that moment.
func (o bankOptions) dieIf(when string, commit int) {
	if o.die == when && o.dieAt == commit {
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Kill()
		select {} // it takes a moment
	}
}

// runBank is a bank process. It writes to out when it is ready, and ends when in ends, which
// happens at the latest when its parent has ended.
func runBank(ctx context.Context, o bankOptions, in io.Reader, out io.Writer) error {
	books, err := openBooks(ctx, o.file)
	if err != nil {
		return err
	}
	defer books.Close()
	kind := ledgerKind(books, o)
	bank, err := join("bank", o.listen, o.nats, static.New(), kind)
	if err != nil {
		return err
	}
	if _, err := bank.Spawn("ledger", kind); err != nil {
		return err
	}
	fmt.Fprintln(out, "ready")
	_, _ = io.Copy(io.Discard, in)
	return bank.Shutdown(ctx)
}

// join starts a node that can be reached over TCP and over NATS. After a crash the bank has its
// former addresses again, so a static list of nodes is sufficient.
func join(name, listen, url string, nodes *static.Registry, kinds ...*actor.Kind) (*actor.System, error) {
	nc, err := natsbus.Connect(context.Background(), url)
	if err != nil {
		return nil, err
	}
	return actor.NewSystem(actor.Config{
		Name:       name,
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: listen}), natsbus.New(nc, natsbus.Config{})},
		Registry:   nodes,
		Kinds:      kinds,
		Retry:      patient,
		Logger:     slog.New(slog.DiscardHandler),
	})
}
