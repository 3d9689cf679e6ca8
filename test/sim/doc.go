// Package sim is a seeded simulation of whole systems under faults. It consists of tests only.
//
// Everything in a run is drawn from its seed: how many nodes there are on which roads, who
// requests what from whom and when, what survives a crash, and which faults happen. Nodes are
// real actor.Systems on roads in memory (transport/memnet), in a bubble of testing/synctest.
// So minutes pass in milliseconds, and no goroutine may be left behind.
//
// The nodes, their roads and disks, the faults, and the truth are those of internal/simulation,
// which users of package actortest have, too. What is drawn for requests, the actors and the
// checks of jobs, queues and streams are here, and so are the planted mistakes.
//
// Many plans have lives (lives_test.go): actors that panic, are restarted, stop for good, are
// stopped from any node and started anew; others that watch them; timers; topics; pools. Their
// checks: the hooks of an incarnation are called once each, and it handles nothing outside of them;
// restarts come as the strategy says; an end is told once for each watch, is true, and is not
// forgotten when everything is quiet again; no tick is early, late, of a cancelled timer or of an
// ended incarnation; a publication arrives once, in its publisher's order, at one member of a
// group, at nobody who has unsubscribed, and at all subscribers of the publisher's node and, on a
// network without faults, of all nodes; a message of a pool runs once. Reliable messages (posts_test.go) run
// once at most, and in order; one that is given up is a dead letter and an event, and none is forgotten.
//
// The ground truth is the id that every operation carries. It is counted when a handler
// begins, outside of all systems, over all nodes, their starts and their sessions. The results
// that callers got are compared with it.
//
//	go test ./test/sim                                   75 seeds, and some of each other sort
//	go test ./test/sim -run Seeds -sim.seeds 20000 -timeout 0 many
//	go test ./test/sim -run Seeds -sim.seed 17 -v        one, with its transcript
//	go test ./test/sim -run Services -sim.terms 1000     many terms of a service
//	go test ./test/sim -run Services -sim.term 17 -v     one, with its transcript
//	go test ./test/sim -run HostilePeers -sim.sieges 1000   many seeds with hostile peers
//	go test ./test/sim -run HostilePeers -sim.siege 17 -v   one, with its transcript
//	go test ./test/sim -run Moves -sim.moves 1000        many seeds with virtual and stored actors
//	go test ./test/sim -run Moves -sim.move 17 -v        one, with its transcript
//	go test ./test/sim -run Replay -sim.replay 100 -v    how far seeds replay
//
// A run of the first kind has many faults at the same time, and its checks must hold under all
// of them. A term (TestServices) is the life of one service under load: its nodes are
// restarted, join and leave, and its instances fail, one after the other. So the promise about
// each event can be checked: a restart, a join or a leave fails no call; one failing instance
// delays few calls of each caller, and fails none once the failure is known; at most half of
// the instances are ejected; an instance that works again is called again.
//
// A siege (TestHostilePeers) has two honest nodes, whose clients do everything that clients can
// do, and hostile peers, which have their own certificates and send anything in the wire's
// format. These pretend to be themselves, each other or the victim. They know everything that
// honest nodes send each other, except for the tokens of deliveries, and send plausible messages
// in random order. Because of that no honest operation may fail, get another one's result or run
// twice, no principal may see or end anything of another one, and in the end no memory is held.
//
// A run of moves (TestMoves) has actors that are not bound to a node: vaults, which are stored and make
// transfers to each other and to ordinary actors, and guests, which are not stored. The nodes share leases,
// claims and states that answer late, lose answers, or make a write after its caller has given up
// (simulation.Hosting); nodes die, are restarted, and are cut off from each other and from each of the three.
// When all is over, what the vaults have stored is the truth. Its judge finds an activation that answers
// after a later one has, also a reader; a commit that is taken after one of a successor; an effect without its
// answer, twice, or of a request that has failed, and an answer without its effect; an answer of what is not
// stored, or of the past; a kept message that is lost, doubled, or out of order; and a caller that lives,
// has time, and is told that nobody knows.
//
// Some vaults and guests have reminders (bells_test.go), which come once or again and again, are replaced and forgotten.
// Their store writes down what it has stored and handed out (simulation.Bells). The judge finds a change that a vault has
// committed, and the store has not got, or the other way round; a firing that was not handled, was handled twice or out of order,
// was handed out after its reminder was forgotten, or is of one that a failed handler has set; times that are told of twice;
// and a reminder that is overdue in the end, or gone. A guest may handle a firing again, but not on the same start of a node.
//
// What a seed draws is the same in every run: nodes, faults, callers, their requests, and the
// pauses before further attempts. It does not determine which of two goroutines that are ready at
// the same moment goes first, and that changes what follows. In two runs of one seed about 85 %
// of the operations begin and end at the same moment and in the same way, and four seeds in ten
// are the same throughout; with -cpu 1 it is 96 %, and six in ten. So a failure that depends on
// the order may need -sim.tries to occur again; most occur again at once.
package sim
