package account_test

import (
	"fmt"
	"log/slog"

	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/host"
	"github.com/tandem-go/tandem/rpc"
)

// What is kept for a principal beyond the outcome of its request counts in its share.
func ExampleAccount_Memory() {
	accounts := account.New(host.New(host.Config{Name: "bank", Logger: slog.New(slog.DiscardHandler)}), 8<<20, 0, 16)
	memory := accounts.Memory("mallory")
	defer memory.Close()
	fmt.Println(memory.Hold(1 << 20))
	err := memory.Hold(4 << 20) // the share of one alone is half of all, and a quarter of all stays free for small messages
	fmt.Println(rpc.CodeOf(err), rpc.Ran(err), accounts.Held())
	memory.Free(1 << 20)
	fmt.Println(accounts.Held())
	// Output:
	// <nil>
	// rpc: overloaded not run 1048576
	// 0
}

// What stays for long leaves three eighths of all free.
func ExampleMemory_Keep() {
	accounts := account.New(host.New(host.Config{Name: "bank", Logger: slog.New(slog.DiscardHandler)}), 8<<20, 0, 16)
	memory := accounts.Memory("mallory")
	defer memory.Close()
	fmt.Println(memory.Keep(5<<19), rpc.CodeOf(memory.Keep(1)))
	// Output: <nil> rpc: overloaded
}
