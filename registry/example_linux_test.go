package registry_test

import (
	"fmt"
	"os"

	"github.com/tandem-go/tandem/registry"
)

// A process that runs is not dead. It is dead if its number now belongs to a process that was
// started at another time.
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

// Only a process of the same machine can judge.
func ExampleProof_Same() {
	own := registry.Self()
	elsewhere := *own
	elsewhere.Boot = "another start of the machine"
	fmt.Println(own.Same(own), elsewhere.Same(own))
	// Output: true false
}
