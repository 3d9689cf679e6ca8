package registry_test

import (
	"fmt"
	"os"

	"github.com/tandem-go/tandem/registry"
)

// A process that runs is not dead; one whose number now belongs to a process that was
// started at another time is.
func ExampleProof_Dead() {
	own := registry.Self()
	holder := *own
	fmt.Println(holder.Dead(own, registry.Look(os.Getpid())))
	holder.Started--
	fmt.Println(holder.Dead(own, registry.Look(os.Getpid())))
	// Output:
	// false
	// true
}
