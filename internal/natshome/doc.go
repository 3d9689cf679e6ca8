// Package natshome is for stores that keep the last message of each subject in a JetStream stream of
// their own, for ever, and that must never begin empty by mistake, whatever an operator does.
//
//	home, err := natshome.Open(ctx, js, natshome.Plan{Stream: "shop_state", Root: "shop_state", What: "records", ...})
//	if err != nil { ... }
//	m, err := home.Last(ctx, home.Subject(kind, id))
//	if err == nil && m == nil {
//		err = home.Whole(ctx) // nil: there is no such message, and nothing was lost
//	}
//
// A second stream, "made", says which stream is the home: by its birth, a random token in its subjects,
// and by the time of its creation. If the home is deleted, emptied, replaced, set back to an earlier
// state, or changed so that it forgets messages, [Home.Whole] says so, for ever, and Open refuses, also
// in a process that is started later. The second stream holds no messages, unless Plan.Second makes it one
// that does.
//
// The stream's leader answers the reads, never a replica that may lag behind. A former leader that
// was cut off may still answer with old data. So a loss is believed only when it was seen for a
// while; until then nothing is said to be there or not.
//
// [Home.Walk] lists the messages of a kind. It reads pages through a consumer, which does not know
// what arrives; the walk does, and begins anew behind that.
package natshome
