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

# Limits

The functions that take a testing.TB, and [Expect], end the test when they fail. So they must be
called from the goroutine of the test, as testing.TB.FailNow must.
*/
package actortest
