package permissions_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/settings"
	settingskv "github.com/tandem-go/tandem/settings/natskv"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

var logKey = settings.Key{Section: settings.LogSection}

func settingsOf(n permissions.Node, nc *nats.Conn) (*settingskv.Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return settingskv.Open(js, settingskv.Config{Cluster: n.Cluster, Logger: quiet})
}

// useSettings follows settings that root writes, so many that the watch has to confirm how far it has read.
func useSettings(ctx context.Context, n permissions.Node, own, root *nats.Conn) error {
	js, err := jetstream.New(root)
	if err != nil {
		return err
	}
	theirs, err := settingskv.Create(ctx, js, settingskv.Config{Cluster: n.Cluster, History: 64, Logger: quiet})
	if err != nil {
		return err
	}
	kv, err := js.KeyValue(ctx, n.Cluster+"_settings")
	if err != nil {
		return err
	}
	for range 30 {
		if _, err := kv.PutString(ctx, "access", strings.Repeat("x", 60<<10)); err != nil {
			return err
		}
	}
	if _, err := theirs.Put(ctx, logKey, settings.Log{}, 0, "root"); err != nil {
		return err
	}
	mine, err := settingsOf(n, own)
	if err != nil {
		return err
	}
	following, stop := context.WithCancel(ctx)
	defer stop()
	entries := 0
	_ = mine.Follow(following, func(u settings.Update) {
		if entries = len(u.Entries); u.Away != nil || entries > 0 {
			stop()
		}
	})
	if entries != 31 {
		return fmt.Errorf("%d entries, want 31", entries)
	}
	_, err = mine.History(ctx, logKey)
	return err
}

func writeSettings(ctx context.Context, n permissions.Node, own, root *nats.Conn) error {
	if err := useSettings(ctx, n, own, root); err != nil {
		return err
	}
	mine, err := settingsOf(n, own)
	if err != nil {
		return err
	}
	all, err := mine.List(ctx)
	if err != nil {
		return err
	}
	revision, err := mine.Put(ctx, logKey, settings.Log{}, all[len(all)-1].Revision, "me")
	if err != nil {
		return err
	}
	_, err = mine.Delete(ctx, logKey, revision, "me")
	return err
}

func makeSettings(ctx context.Context, n permissions.Node, own, root *nats.Conn) error {
	js, err := jetstream.New(own)
	if err != nil {
		return err
	}
	if _, err := settingskv.Create(ctx, js, settingskv.Config{Cluster: n.Cluster, History: 64, Logger: quiet}); err != nil {
		return err
	}
	return writeSettings(ctx, n, own, root)
}
