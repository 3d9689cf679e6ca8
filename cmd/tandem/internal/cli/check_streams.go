package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// leastMarker is the LimitMarkerTTL that the registry's bucket needs.
const leastMarker = 10 * time.Minute

// leases is an error if records in a bucket do not end with their leases.
func leases(s jetstream.KeyValueStatus) error {
	if s.LimitMarkerTTL() < leastMarker {
		return fmt.Errorf("its LimitMarkerTTL is %v", s.LimitMarkerTTL())
	}
	return nil
}

// checkStreams looks at what else a cluster may keep in JetStream. What is not there is not needed, or its first user makes it.
func checkStreams(ctx context.Context, js jetstream.JetStream, cluster string, add func(string, error, string, string) bool) {
	for _, name := range []string{cluster + "_records", cluster + "_state", "KV_" + cluster + "_claims", "KV_" + cluster + "_settings", "KV_" + cluster + "_bindings", cluster + "_reminders", cluster + "_alarms", cluster + "_topics"} {
		s, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			add("stream "+name, err, "", "The user has to be allowed $JS.API.STREAM.INFO."+name+", and the stream needs a leader: nats stream report.")
			continue
		}
		info := s.CachedInfo()
		err, mend := wrongStream(info)
		add("stream "+name, err, fmt.Sprintf("%d messages, %d bytes", info.State.Msgs, info.State.Bytes), mend)
	}
}

// wrongStream says what is wrong with a stream, and what to do about it.
func wrongStream(i *jetstream.StreamInfo) (wrong error, mend string) {
	cfg, used := i.Config, i.State
	switch {
	case i.Cluster != nil && i.Cluster.Leader == "":
		return errors.New("it has no leader"), "Start the NATS servers that have its replicas: nats stream report."
	case cfg.Storage == jetstream.MemoryStorage:
		return errors.New("it is in memory only"), "Create it with file storage: what it has is lost when the server is started again."
	case strings.HasSuffix(cfg.Name, "_records") && cfg.Discard == jetstream.DiscardOld && (cfg.MaxBytes > 0 || cfg.MaxMsgs > 0):
		return errors.New("it drops old records when it is full"), "nats stream edit " + cfg.Name + " --discard new"
	case cfg.MaxBytes > 0 && used.Bytes > uint64(cfg.MaxBytes)/10*9:
		return fmt.Errorf("it is nearly full, with a limit of %d bytes", cfg.MaxBytes), "nats stream edit " + cfg.Name + " --max-bytes, with more."
	}
	return nil, ""
}
