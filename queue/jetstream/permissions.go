package jetstream

// Publishes returns the subjects to which the NATS user of a process must be allowed to
// publish for a queue, if JetStream's API has its usual prefix. The user must also be
// allowed to subscribe to its inbox, "_INBOX.>" unless nats.CustomInboxPrefix sets another.
// A server of a cluster needs nothing more.
func Publishes(cluster, name string) []string {
	items := cluster + "_queue_" + name
	all := []string{items + ".*", items + "_dead", items + "_free.*"}
	for _, stream := range []string{items, items + "_dead", items + "_free"} {
		for _, do := range []string{"INFO", "CREATE", "UPDATE", "MSG.GET", "MSG.DELETE"} {
			all = append(all, "$JS.API.STREAM."+do+"."+stream)
		}
	}
	return append(all,
		"$JS.API.STREAM.PURGE."+items+"_free",
		"$JS.API.CONSUMER.CREATE."+items+".>",
		"$JS.API.CONSUMER.INFO."+items+".*",
		"$JS.API.CONSUMER.PAUSE."+items+".*",
		"$JS.API.CONSUMER.MSG.NEXT."+items+".*",
		"$JS.ACK."+items+".>") // that an item goes back or stays; what ends it is a deletion
}
