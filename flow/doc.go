// Package flow runs functions that outlive the process that runs them. A flow is a function with an id. What it
// has done is recorded step by step; if its node dies, it is run again on another one, and gets the results
// of the steps that are recorded, so that it goes on where it was.
//
//	var Checkout = flow.Define("shop.checkout", func(f *flow.Flow, o Order) (Receipt, error) {
//		charge, err := flow.Step(f, "charge", func(ctx context.Context) (Charge, error) { return pay(ctx, o) })
//		if err != nil {
//			return Receipt{}, err
//		}
//		if err := flow.Sleep(f, "cool off", 24*time.Hour); err != nil {
//			return Receipt{}, err
//		}
//		ok, err := flow.Await[bool](f, "released")
//		...
//	})
//
//	err := Checkout.Start(ctx, sys, "order-17", order) // once, however often it is called
//	err = Checkout.Signal(ctx, sys, "order-17", "released", true)
//	receipt, err := Checkout.Result(ctx, sys, "order-17")
//
// The promise. The result of a step is recorded once, and every run of the function gets that one. The function of a step
// may be called more than once: it has run, and its node dies before the result is recorded. So what it does
// elsewhere should be recognised there: by a key made of the flow's id and the step's name ([Flow.Key]), with rpc.Key
// for a request. What the function does between steps is done by each run, and must lead to the same steps again: it depends on
// nothing but its input, the results of steps, and constants.
//
// A run ends early when its node leaves, when it cannot record a step any more, or when it waits for long. Then
// the verbs return an error that wraps [ErrEnds], and what the function returns is ignored; so it returns their errors. A flow that waits
// for more than a minute has no goroutine, and no activation of its actor, until its time or its signal has come.
//
// A flow is a stored virtual actor with a reminder: the nodes that run flows have the kind ([Definition.Kind]) in Config.Kinds,
// and need Config.States, Config.Claims and Config.Reminders. While it runs, its reminder looks every 30 s whether somebody runs it. All
// that is recorded of a flow has to fit into one record, of about 1 MiB.
package flow
