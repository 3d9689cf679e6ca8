package rpc_test

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/tandem-go/tandem/rpc"
)

// What is kept for a principal beyond the outcome of its request counts in its share.
func ExampleNode_Memory() {
	node := rpc.NewNode(rpc.Config{Cluster: "shop", Name: "bank", Epoch: "1", Logger: slog.New(slog.DiscardHandler), MemoryBytes: 8 << 20})
	memory := node.Memory("mallory")
	defer memory.Close()
	fmt.Println(memory.Hold(1 << 20))
	err := memory.Hold(4 << 20) // the share of one alone is half of all, and a quarter of all stays free for small messages
	fmt.Println(rpc.CodeOf(err), rpc.Ran(err), node.Stats().HeldBytes)
	memory.Free(1 << 20)
	fmt.Println(node.Stats().HeldBytes)
	// Output:
	// <nil>
	// rpc: overloaded not run 1048576
	// 0
}

// What stays for long leaves three eighths of all free.
func ExampleMemory_Keep() {
	node := rpc.NewNode(rpc.Config{Cluster: "shop", Name: "bank", Epoch: "1", Logger: slog.New(slog.DiscardHandler), MemoryBytes: 8 << 20})
	memory := node.Memory("mallory")
	defer memory.Close()
	fmt.Println(memory.Keep(5<<19), rpc.CodeOf(memory.Keep(1)))
	// Output: <nil> rpc: overloaded
}

func ExampleBrief() {
	fmt.Println(rpc.Brief("short"), len(rpc.Brief(strings.Repeat("long ", 1000))))
	// Output:
	// short 1024
}
