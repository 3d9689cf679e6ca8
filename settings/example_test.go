package settings_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/settings"
	"github.com/tandem-go/tandem/settings/file"
)

// A node begins with what a file says, and follows it from then on.
func ExampleWatch() {
	dir, err := os.MkdirTemp("", "settings")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "settings.json")
	err = os.WriteFile(path, []byte(`{"author": "ann", "log": {"level": "warn"}, "retry": {"attempts": 2, "maxPause": "250ms"}}`), 0o600)
	if err != nil {
		fmt.Println(err)
		return
	}
	source, err := file.New(file.Config{Path: path})
	if err != nil {
		fmt.Println(err)
		return
	}
	level := new(slog.LevelVar)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	var watcher *settings.Watcher
	sys, err := actor.NewSystem(actor.Config{Setup: func(sys *actor.System) (err error) { // before any other node is served
		watcher, err = settings.Watch(context.Background(), source, settings.Targets{System: sys, Level: level, Logger: log})
		return err
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Shutdown(context.Background())
	defer watcher.Close()
	fmt.Println(level.Level(), sys.Retry().Attempts, sys.Retry().MaxPause)
	for _, s := range watcher.Applied() {
		fmt.Println(s.Key, s.Applied.Revision, s.Applied.Author, s.InForce, s.Refused)
	}
	// Output:
	// WARN 2 250ms
	// retry 1 ann true <nil>
	// log 1 ann true <nil>
}

// An error says which field is wrong.
func ExampleParseValue() {
	_, err := settings.ParseValue(settings.LimitsSection, []byte(`{"limits": [{"name": "all", "rate": 1000}, {"name": "search", "rate": -1}]}`))
	fmt.Println(err)
	// Output: rpc: invalid: settings: limits: value.limits[1].rate: admission: search: Rate is -1 [not run]
}
