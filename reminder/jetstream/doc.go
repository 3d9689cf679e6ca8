// Package jetstream keeps the reminders of virtual actors in JetStream, for all nodes of a cluster.
//
//	store, err := jetstream.Open(ctx, js, jetstream.Config{Cluster: "shop", Replicas: 3})
//	if err != nil { ... }
//	go store.Follow(ctx, fire)
//	_, err = store.Set(ctx, r, reminder.ID{})
//
// The promise is that of [reminder.Store]. There are two streams. "<cluster>_reminders" has a subject
// for each reminder, with its record as the only message: what it sends, when it is due, and the number
// of that firing. A Set, a Forget and the answer to a firing each replace the record by one message,
// which names the sequence number of the record that it replaces; so each is stored at most once, and
// what has been replaced has no effect any more. "<cluster>_alarms" has an alarm for each record: a
// message that the server moves to those that are due when the time has come. Followers set the alarm
// of each new record, and take the alarms that are due, one follower each. A follower then reads the
// record, and hands out the firing if the record is still the one of the alarm. It tells NATS every 5 s
// that it has the firing in hand; if it does not for 15 s, another one gets it. A follower that is cut off
// from NATS for longer does not know that: then two may have one firing, under one key.
//
// How safe a change is depends on the server. With one replica, the default, it is as safe as the
// server's disk; it survives a loss of power only if the server syncs every write. With three replicas
// it survives the loss of one server. Reads are answered by the leader of the stream. A leader that was
// cut off from the others and does not know it yet may, for some seconds, show a record that was replaced:
// then a reminder that was just replaced or forgotten may fire once more. Its answer is not stored.
//
// What message schedules promise. The alarms are message schedules of nats-server 2.15. These are the facts
// that the tests in schedules_test.go show:
//
//   - A message "@at" a time is never early, and on an idle server up to about 250 ms late. If the time has
//     passed, it comes within that time.
//   - A message that is due while the server is down comes once, after the start. In a cluster of three whose
//     leader steps down or is stopped just then, all come; none was seen twice, but nothing promises that.
//   - A message that is deleted, or whose subject is purged, does not come; nothing tells of it. A stream can
//     deny deletes.
//   - Another message on the subject replaces the one that waits. But if that is just going off, the server
//     purges all of its subject, also what has replaced it: of 3000 messages that were replaced at that
//     moment, hundreds were lost. So no subject is used twice here: each record has an alarm on a subject of
//     its own, and the alarms of records that were replaced are purged one by one.
//   - What comes "@every" so often, or by a cron expression, comes once for all the times at which the server
//     was down, and does not say how many it has missed; it counts from then on, to the second. So
//     each time of a reminder is set "@at", when the firing before it was answered.
//   - A stream with schedules can be purged, and must discard old messages if it has a limit. So what is set is
//     not kept in it. It has no limit here.
//
// What an operator does cannot make a store begin empty. The stream of records denies deletes and purges.
// If it is deleted, replaced, set back to an earlier state, or changed so that it forgets messages, all
// calls of an open store say [reminder.ErrLost], for ever, and Open refuses with the same error, also in a
// process that is started later, because the stream of alarms says which stream has the records. An operator
// who has a backup restores the stream. Then, or if the loss is accepted, the operator deletes
// "<cluster>_alarms" and restarts the processes: Open trusts what it finds, or creates a new stream, and all
// alarms are set again. If both streams are deleted, nothing is left that could tell. If the stream of alarms
// alone is deleted or purged, or a consumer of either stream is deleted, nothing is lost: followers notice
// within 30 s, and set all alarms again. The stream of alarms denies the delete of a single message, but it must
// allow purges: if an operator purges the subject of one alarm, nobody notices, and its reminder does not come
// due until it is set anew, or all alarms are.
//
// The limits. All alarms are set by followers: while there is none, nothing is due. A reminder takes about
// 570 bytes on disk, with its alarm, and 800 bytes of memory of the server. A follower sends and gets less
// than one message a second while nothing is due, however many reminders there are. What has ended leaves a mark of
// about 150 bytes, for a day. A reminder must fit into a message of the server, whose max_payload is 1 MiB by
// default; a larger one gets [reminder.ErrTooLarge]. Times are those of the server's clock. Several clusters
// may share one NATS account under different names. The user's permissions are listed by package
// transport/natsbus/permissions, see Reminders and MakeReminders.
package jetstream
