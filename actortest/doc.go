/*
Package actortest is for the tests of those who write actors: systems that end with their test,
probes that say what an actor has sent, clusters in memory that break when the test says so, and
a simulator that breaks them at random and checks that your actors keep their promises.

A test of one actor needs a system and nothing else:

	func TestAccount(t *testing.T) {
		sys := actortest.NewSystem(t, actor.Config{})
		alice := actortest.Spawn(t, sys, "alice", AccountKind)
		if err := actor.Tell(t.Context(), alice, Deposit{5}); err != nil {
			t.Fatal(err)
		}
		if balance, err := actor.Call(t.Context(), alice, Balance{}); balance != 5 || err != nil {
			t.Errorf("the balance is %d, %v; want 5", balance, err)
		}
	}

# Probes

A [Probe] is an actor that stands for the other actors which the tested one talks to. It keeps
what it gets, and answers the requests that it was told to answer:

	p := actortest.NewProbe(t, sys, "audit", actortest.Answers(func(m Approve) (bool, error) { return true, nil }))
	... the tested actor gets p.Ref ...
	approve := actortest.Expect[Approve](p)
	p.ExpectNothing(time.Second)

[Expect] returns the next message, and fails the test if that has another type, or if none comes
in time. It may be used within a system and from other nodes alike.

# Time

[Bubble] runs a test on a clock of its own (testing/synctest): when everything waits, the clock
jumps. So a test of a time-out of one minute takes a millisecond, and it takes exactly one
minute of the bubble's time. Everything of this package works in a bubble, and outside of one.
In a bubble all goroutines have to end with the test; those of a system made with [NewSystem]
do. Sockets do not work there, so nodes need roads in memory.

# Clusters

A [Cluster] is several nodes in a bubble, on both roads, which the test breaks on purpose: nodes
are killed, stopped and started again under their names; roads are cut, delayed or lose messages.

	actortest.Bubble(t, func(t *testing.T) {
		c := actortest.NewCluster(t, actortest.ClusterConfig{Nodes: 3, Setup: spawnAccounts})
		c.Cut(actortest.Both, c.Node(0), c.Node(1))
		c.Node(2).Kill()
		...
	})

The nodes are real systems, and what they send is encoded as in production. What is missing is
the operating system: a killed node's goroutines go on, unheard (see [Node.Kill]).

# Simulations

[Simulate] runs your actors in many worlds, each drawn from a seed: nodes on both roads, callers,
crashes, restarts, replaced nodes that go on for a while, delays, losses, partitions, disks that
fail. Everything goes over the real wire code. Judges check that no operation ran twice, that
what callers were told is true, that one-way messages are in order, that nothing stays
unanswered, and that nothing leaks. What only you know, you say as an invariant:

	actortest.Simulate(t, 200, func(w *actortest.World) {
		var surely, perhaps atomic.Int64
		w.Cluster(actortest.ClusterConfig{Setup: func(n *actortest.Node) error {
			_, err := n.Spawn("safe", safeKind(n.Disk()))
			return err
		}})
		w.Callers(4, func(c *actortest.Caller) {
			_, err := actortest.Call(c, "safe@n0", PutIn{Amount: 1})
			if err == nil {
				surely.Add(1)
			}
			if rpc.Ran(err) != rpc.NotRun {
				perhaps.Add(1)
			}
		})
		w.Invariant("nothing is lost", func() error { ... })
	})

A seed that fails is said with the command that runs it again, as

	ACTORTEST_SEED=17 go test -run '^TestSafe$' -v .

which shows the transcript: every fault, call and run of a handler, with the bubble's time.
ACTORTEST_SEEDS=20000 runs more seeds than the test asks for. A seed takes about 50 ms of
processor time, for two to four minutes of the bubble's.

# Limits

  - What a seed draws is the same in every run, the order of goroutines that are ready at the same
    moment is not; so not every failure occurs again at the first attempt.
  - The judges see operations of [Call], [Ask] and [Tell] at actors that [Node.Spawn] has started. They
    see neither jobs, queues and streams nor actors that handlers spawn: use invariants for those.
  - A killed node's goroutines cannot be stopped. They go on, unheard, and can write neither to the
    node's store nor to its [Disk]; what a handler writes elsewhere is not undone or prevented.
  - There is no time in a bubble that a handler spends computing, and no memory runs out.
  - The functions that take a testing.TB, and [Expect], end the test when they fail. So they must be
    called from the goroutine of the test, as testing.TB.FailNow must.
*/
package actortest
