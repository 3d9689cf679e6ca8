package cli

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

// findings are those of check at a server, by name.
func findings(t *testing.T, url string, args ...string) (map[string]finding, int) {
	t.Helper()
	a := &app{out: new(bytes.Buffer), err: new(bytes.Buffer), server: url, cluster: "shop", user: "ann", timeout: 2 * time.Second}
	t.Cleanup(func() {
		if a.nc != nil {
			a.nc.Close()
		}
	})
	node := ""
	if len(args) > 0 {
		node = args[0]
	}
	all, bad := map[string]finding{}, 0
	for _, f := range a.checks(t.Context(), node, nil) {
		name := f.Check
		if f.Check == "publish" || f.Check == "subscribe" {
			name += " " + f.Found
		}
		if all[name] = f; !f.OK {
			bad++
			if f.Mend == "" {
				t.Errorf("%+v does not say what to do", f)
			}
		}
	}
	return all, bad
}

// What is broken in one way is named as that, and the rest is not.
func TestCheckFinds(t *testing.T) {
	ready := func(t *testing.T, cfg embedded.Config) *embedded.Server { // with the registry's bucket
		srv := servers.Start(t, cfg)
		reg, err := natskv.New(t.Context(), servers.Connect(t, srv), natskv.Config{Cluster: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(reg.Close)
		return srv
	}
	for name, c := range map[string]struct {
		url   func(t *testing.T) string
		wrong string // the check that has to be wrong, beside that of the nodes, of which there are none
		found string
	}{
		"all is well": {func(t *testing.T) string { return ready(t, embedded.Config{}).URL() }, "", ""},
		"no server":   {func(*testing.T) string { return "nats://127.0.0.1:1" }, "nats", "NATS"},
		"no registry": {func(t *testing.T) string { return servers.Start(t, embedded.Config{}).URL() }, "registry", "shop_nodes"},
		"no JetStream": {func(t *testing.T) string {
			return servers.Start(t, embedded.Config{Configure: func(o *server.Options) { o.JetStream = false }}).URL()
		}, "jetstream", "not enabled"},
		"wrong cluster": {func(t *testing.T) string { return ready(t, embedded.Config{}).URL() }, "nodes", "no node"},
	} {
		t.Run(name, func(t *testing.T) {
			all, _ := findings(t, c.url(t))
			for check, f := range all {
				switch {
				case check == c.wrong:
					if f.OK || !strings.Contains(f.Found, c.found) {
						t.Errorf("%+v", f)
					}
				case !f.OK && check != "nodes":
					t.Errorf("%s is wrong as well: %+v", check, f)
				}
			}
			if c.wrong != "" && all[c.wrong].Check == "" {
				t.Errorf("%s is not checked: %v", c.wrong, all)
			}
		})
	}
}

// Each permission that is missing is found, and nothing else.
func TestCheckPermissions(t *testing.T) {
	set, err := permissionOf("node", "till-1", "shop", permissions.Node{}, nil, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	try := func(t *testing.T, publish, subscribe []string) map[string]finding {
		// The user of the test may also do what check itself needs: ask JetStream, and get its answers.
		allowed := &server.Permissions{Publish: &server.SubjectPermission{Allow: append(publish, "$JS.API.INFO", "tandem.admin.shop.ann.>")}, Subscribe: &server.SubjectPermission{Allow: append(subscribe, "_INBOX.>")}}
		srv := servers.Start(t, embedded.Config{Configure: func(o *server.Options) {
			o.Users = []*server.User{{Username: "till", Password: "secret", Permissions: allowed}}
		}})
		all, _ := findings(t, strings.Replace(srv.URL(), "://", "://till:secret@", 1), "till-1")
		return all
	}
	wrong := func(all map[string]finding) (names []string) {
		for name, f := range all {
			if !f.OK && (f.Check == "publish" || f.Check == "subscribe") {
				names = append(names, name)
			}
		}
		return names
	}
	if got := wrong(try(t, set.Publish, set.Subscribe)); len(got) != 0 {
		t.Fatalf("with all permissions: %q", got)
	}
	for i, s := range set.Subscribe {
		rest := append(append([]string{}, set.Subscribe[:i]...), set.Subscribe[i+1:]...)
		if got := wrong(try(t, set.Publish, rest)); len(got) != 1 || !strings.Contains(got[0], s) {
			t.Errorf("without %q: %q", s, got)
		}
	}
	for i, s := range set.Publish {
		if destructive(s) {
			continue
		}
		rest := append(append([]string{}, set.Publish[:i]...), set.Publish[i+1:]...)
		if got := wrong(try(t, rest, set.Subscribe)); s != "$JS.API.INFO" && (len(got) != 1 || !strings.HasPrefix(got[0], "publish ")) {
			t.Errorf("without %q: %q", s, got)
		}
	}
}

// To try permissions changes nothing: not in streams and consumers that are there, and none is made.
func TestCheckChangesNothing(t *testing.T) {
	srv := servers.Start(t, embedded.Config{})
	js := servers.Connect(t, srv)
	reg, err := natskv.New(t.Context(), js, natskv.Config{Cluster: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	reg.Close()
	for name, subjects := range map[string]string{"shop_records": "shop_records.>", "shop_state": "shop_state.>", "shop_alarms": "shop_alarms.>"} {
		s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subjects}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: probeToken}); err != nil { // even one of the name that is tried
			t.Fatal(err)
		}
		for range 3 {
			if _, err := js.Publish(t.Context(), strings.Replace(subjects, ">", "x", 1), []byte("kept")); err != nil {
				t.Fatal(err)
			}
		}
	}
	look := func() (all []string) {
		for s := range js.ListStreams(t.Context()).Info() {
			all = append(all, fmt.Sprint(s.Config.Name, " ", s.State.Msgs, " ", s.State.FirstSeq, " ", s.State.LastSeq, " ", s.State.Consumers))
		}
		slices.Sort(all)
		return all
	}
	before := look()
	with := []string{}
	for _, p := range parts {
		if p.optional {
			with = append(with, p.name)
		}
	}
	set, err := permissionOf("node", "till-1", "shop", permissions.Node{}, with, []string{"mails"}, true)
	if err != nil {
		t.Fatal(err)
	}
	found := tried(servers.Within(t, 10*time.Second), js.Conn(), set)
	if len(found) != len(set.Publish)+len(set.Subscribe) || len(found) < 40 {
		t.Errorf("%d are tried of %d", len(found), len(set.Publish)+len(set.Subscribe))
	}
	for _, f := range found {
		if !f.OK {
			t.Errorf("%+v", f)
		}
	}
	if after := look(); len(before) != 4 || !slices.Equal(before, after) {
		t.Errorf("before %q, after %q", before, after)
	}
}

func TestDestructive(t *testing.T) {
	for subject, want := range map[string]bool{
		"$JS.API.INFO": false, "$JS.API.STREAM.INFO.KV_shop_nodes": false, "$JS.API.STREAM.CREATE.x": false, "$JS.API.CONSUMER.CREATE.x.tandem-check": false, "$KV.shop_nodes.till-1": false,
		"shop_records.till-1": false, "PURGE.x": false, "$JS.API.STREAM.PURGE.x": true, "$JS.API.CONSUMER.DELETE.x.tandem-check": true, "$JS.API.STREAM.DELETE.x": true, "$JS.API.STREAM.MSG.DELETE.x": true,
		"$JS.hub.API.STREAM.UPDATE.x": true, "$JS.API.CONSUMER.PAUSE.x.tandem-check": true,
	} {
		if got := destructive(subject); got != want {
			t.Errorf("%s: %v", subject, got)
		}
	}
}

// A stream that is broken in one way is named with that.
func TestCheckStreams(t *testing.T) {
	full := func(name string, cfg jetstream.StreamConfig) func(*testing.T, jetstream.JetStream) {
		return func(t *testing.T, js jetstream.JetStream) {
			cfg.Name, cfg.Subjects = name, []string{name + ".>"}
			if _, err := js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish(t.Context(), name+".x", make([]byte, 920)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		make  func(*testing.T, jetstream.JetStream)
		check string
		wrong string // empty: it is right
	}{
		"all is well":          {full("shop_records", jetstream.StreamConfig{}), "stream shop_records", ""},
		"new ones are refused": {full("shop_records", jetstream.StreamConfig{MaxBytes: 1 << 20, Discard: jetstream.DiscardNew}), "stream shop_records", ""},
		"old ones are dropped": {full("shop_records", jetstream.StreamConfig{MaxBytes: 1 << 20}), "stream shop_records", "drops old records"},
		"in memory":            {full("shop_state", jetstream.StreamConfig{Storage: jetstream.MemoryStorage}), "stream shop_state", "in memory only"},
		"nearly full":          {full("shop_state", jetstream.StreamConfig{MaxBytes: 1000, Discard: jetstream.DiscardNew}), "stream shop_state", "nearly full"},
		"no leases": {func(t *testing.T, js jetstream.JetStream) {
			if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "shop_nodes"}); err != nil {
				t.Fatal(err)
			}
		}, "registry", "LimitMarkerTTL"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := servers.Start(t, embedded.Config{})
			js := servers.Connect(t, srv)
			c.make(t, js)
			if c.check != "registry" {
				reg, err := natskv.New(t.Context(), js, natskv.Config{Cluster: "shop"})
				if err != nil {
					t.Fatal(err)
				}
				reg.Close()
			}
			all, _ := findings(t, srv.URL())
			f, there := all[c.check]
			if !there || f.OK != (c.wrong == "") || !strings.Contains(f.Found, c.wrong) {
				t.Errorf("%+v of %+v", f, all)
			}
			for name, f := range all {
				if !f.OK && name != c.check && name != "nodes" {
					t.Errorf("%s is wrong as well: %+v", name, f)
				}
			}
		})
	}
}

// A store that is nearly full, and clocks that differ, are wrong at the limit and not before.
func TestCheckLimits(t *testing.T) {
	info := func(used uint64) *jetstream.AccountInfo {
		var i jetstream.AccountInfo
		i.Store, i.Limits.MaxStore = used, 1000
		return &i
	}
	if err := storeLeft(info(900)); err != nil {
		t.Error(err)
	}
	if storeLeft(info(901)) == nil {
		t.Error("901 of 1000")
	}
	for skew, ok := range map[time.Duration]bool{0: true, maxSkew: true, -maxSkew: true, maxSkew + 1: false, -maxSkew - 1: false} {
		if err := skewed(skew); (err == nil) != ok {
			t.Errorf("%v: %v", skew, err)
		}
	}
	for left, ok := range map[time.Duration]bool{minLeft: true, minLeft - 1: false} {
		if err := expiring(left); (err == nil) != ok {
			t.Errorf("%v: %v", left, err)
		}
	}
}
