package wire_test

import (
	"fmt"
	"strings"

	"github.com/tandem-go/tandem/internal/engine/wire"
)

func ExampleTruncate() {
	fmt.Println(wire.Truncate("short"), len(wire.Truncate(strings.Repeat("long ", 1000))))
	// Output:
	// short 1024
}
