// Package natskv keeps the claims of virtual actors in a JetStream key-value bucket.
//
//	claims, err := natskv.Open(ctx, js, natskv.Config{Cluster: "shop", Replicas: 3})
//	if err != nil { ... }
//	held, err := claims.Get(ctx, placement.Key{Kind: "bank.account", ID: "alice"})
//
// The promise is that of [placement.Claims]. All nodes of a cluster share the bucket
// "<cluster>_claims". Each key has one message in it. A write names the sequence number that the
// key's last message must have, so the server accepts at most one after each. A claim's token is
// the sequence number of its message, which no later message of the bucket has again.
//
// Reads are answered by the leader of the bucket's stream, never by a replica that may lag behind:
// the bucket does not allow direct reads, which those that KeyValue creates do. A leader that was
// cut off from the others and does not know it yet may still answer with an outdated claim, for
// some seconds. JetStream has no read that excludes this; but a write after it is refused.
//
// What an operator does cannot make the bucket begin empty, as then two nodes could hold the same
// actor. It denies deletes and purges, and a second stream, "<cluster>_claims_made", which holds no
// messages, says which bucket has the claims. If that one is deleted, emptied, replaced, set back
// to an earlier state, or changed so that it forgets messages, an open Claims says
// [placement.ErrLost] as soon as it finds out, for ever, and Open refuses with the same error, also
// in a process that is started later. Every Get that finds no claim looks for this, and so does
// Check. The operator then stops all nodes of the cluster, for the claims of dead epochs are worth
// nothing, deletes what is left of both, "KV_<cluster>_claims" and "<cluster>_claims_made", and
// starts the nodes. If only both are deleted, nothing is left that could tell.
//
// A claim that somebody deletes by hand, as with a tool for buckets, does not look released, because
// its holder may go on: that key gets [placement.ErrFormat]. When all nodes that may hold it were
// stopped, an empty message under the key's subject with the headers "KV-Operation: DEL" and
// "Tandem-Released: 1" releases it.
//
// # What is assumed of JetStream
//
// Each assumption is checked by the test that is named, against servers of version 2.15.
//
//   - A message that expects a sequence number as the last one of its subject is stored only if it
//     is; 0 stands for none. Of many at the same time one is stored (TestExpectedSequence, and with
//     three servers TestReplicated). A replicated stream also refuses one while another of its
//     subject is in flight, and for a moment after that was acknowledged: so this proves no
//     conflict (TestFaultsAreHidden; TestReplicated, back to back).
//   - The stream never gives a sequence number twice, also when the last messages have expired and
//     the server was restarted or killed then (TestNoSequenceTwice).
//   - The life of a mark is over with it: a claim that has replaced it stays (TestMarkIsReplaced).
//   - A read of the stream's last message of a subject is answered by the leader, with all that was
//     acknowledged before (TestReplicated).
//   - What was acknowledged outlives a restart of the server with its files (TestRestart), and with
//     three replicas another leader (TestReplicated), the loss of a server, and that of a server's
//     files (TestOneServerLost). The time for which a server may wait until it syncs to disk is not
//     tested: with one replica, a loss of power may lose claims; then they are ErrLost if any node
//     has seen what is missing, and else nothing tells.
//   - A write whose answer is lost with the leader was made or not, and the same write made again
//     finds out (TestAnswerIsLostWithLeader).
//   - Purges and deletes are refused, and that cannot be changed (TestOperator). So what loses claims
//     is another stream, with another time of creation or another first subject (TestLost,
//     TestEmptyDisk).
//   - Clusters of different names do not meet (TestTwoClusters).
//
// # Limits
//
// A claim that nobody releases stays until its key is wanted again, 250 to 350 bytes on disk; the
// mark of a release goes after [ReleasedFor]. A Create that finds such a mark takes three requests
// in place of one. The bucket may be created beforehand, for example with a limit of its size; see
// Open for what it must be. Several clusters may share one NATS account under different names. The
// user's permissions are listed by package transport/natsbus/permissions, see Claims and MakeClaims.
package natskv
