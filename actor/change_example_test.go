package actor_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/rpc"
)

// Limits and the policy of retries are changed while the system runs. What is wrong changes nothing.
func ExampleSystem_SetAdmission() {
	sys, err := actor.NewSystem(actor.Config{Access: access.Rules{Default: access.Deny}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Shutdown(context.Background())
	fmt.Println(sys.SetAdmission(admission.Rules{List: []admission.Limit{{Name: "search", Services: []string{"search"}, Concurrent: 64}}}))
	fmt.Println(sys.SetAdmission(admission.Rules{List: []admission.Limit{{Name: "search", Concurrent: -1}}}) != nil)
	fmt.Println(sys.Admission().List[0].Concurrent)
	fmt.Println(sys.SetRetry(rpc.Retry{Attempts: 2}))
	fmt.Println(sys.SetRetry(rpc.Retry{Attempts: -2}))
	fmt.Println(sys.Retry().Attempts, sys.Access().Default)
	// Output:
	// <nil>
	// true
	// 64
	// <nil>
	// rpc: Retry.Attempts is -2
	// 2 deny
}

// What belongs to a system, and is no part of it, can make events of it.
func ExampleSystem_Raise() {
	sys, err := actor.NewSystem(actor.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Shutdown(context.Background())
	events := sys.Events(context.Background(), "disk full")
	sys.Raise("disk full", errors.New("1 % is left"))
	e := <-events
	fmt.Println(e.Type, e.Err)
	// Output: disk full 1 % is left
}
