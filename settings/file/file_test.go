package file_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/settings"
	"github.com/tandem-go/tandem/settings/file"
	"github.com/tandem-go/tandem/test/bubble"
)

var quiet = slog.New(slog.DiscardHandler)

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}

// desk is a system that follows a file.
type desk struct {
	t    testing.TB
	path string
	*actor.System
	*settings.Watcher
	events <-chan actor.Event
}

func newDesk(t testing.TB, text string) *desk {
	d := &desk{t: t, path: filepath.Join(t.TempDir(), "settings.json")}
	if text != "" {
		d.replace(text)
	}
	src, err := file.New(file.Config{Path: d.path})
	if err != nil {
		t.Fatal(err)
	}
	d.System, err = actor.NewSystem(actor.Config{Name: "till-1", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	d.events = d.Events(t.Context())
	d.Watcher, err = settings.Watch(t.Context(), src, settings.Targets{System: d.System, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) close() {
	d.Watcher.Close()
	if err := d.Shutdown(context.Background()); err != nil {
		d.t.Error(err)
	}
}

// replace replaces the file, as an editor does.
func (d *desk) replace(text string) {
	d.write(text+" ", d.path+".new")
	if err := os.Rename(d.path+".new", d.path); err != nil {
		d.t.Fatal(err)
	}
}

// write writes into a file.
func (d *desk) write(text, path string) {
	d.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// said waits until the file was looked at twice, and returns the events.
func (d *desk) said() (all []string) {
	time.Sleep(2 * file.DefaultPeriod)
	synctest.Wait()
	for {
		select {
		case e := <-d.events:
			all = append(all, string(e.Type))
		default:
			return all
		}
	}
}

const first = `{"author":"ann","retry":{"attempts":3},"log":{"level":"info"}}`

func TestFile(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		d := newDesk(t, first)
		defer d.close()
		want(t, "at the start", fmt.Sprint(d.Retry().Attempts, d.said()), "3 [settings changed]")
		d.replace(`{"author":"bob","retry":{"attempts":4},"log":{"level":"info"}}`)
		want(t, "replaced", fmt.Sprint(d.said(), d.Retry().Attempts), "[settings changed] 4")
		for _, s := range d.Applied() {
			switch s.Section {
			case "log":
				want(t, "a section that was not changed", fmt.Sprint(s.Applied.Author, s.Applied.Revision), "ann1")
			case "retry":
				want(t, "one that was", fmt.Sprint(s.Applied.Author, s.Applied.Revision, time.Since(s.Applied.Time) < time.Hour*24*365*100), "bob2 true")
			}
		}
		d.write(`{"author":"bob","retry":{"attempts":5`, d.path)
		want(t, "half of it", fmt.Sprint(d.said(), d.Retry().Attempts), "[settings refused] 4")
		want(t, "and again", d.said(), "[]")
		st := d.Applied()
		want(t, "the state", fmt.Sprint(st[len(st)-1].Key, rpc.CodeOf(st[len(st)-1].Refused.Err)), fmt.Sprint(settings.WholeDocument, " ", rpc.Invalid))
		d.write(`{"author":"bob","retry":{"attempts":5}}`, d.path)
		want(t, "all of it", fmt.Sprint(d.said(), d.Retry().Attempts), "[settings changed] 5")
		want(t, "the state", len(d.Applied()), 1)
		d.replace(`{"author":"bob","retry":{"attempts":-5},"access":{"default":"deny"}}`)
		want(t, "one section is bad", fmt.Sprint(d.said(), d.Retry().Attempts, d.Access().Default), "[settings refused settings changed] 5 deny")
		if err := os.Remove(d.path); err != nil {
			t.Fatal(err)
		}
		want(t, "away", fmt.Sprint(d.said(), d.Retry().Attempts, errors.Is(d.Away(), fs.ErrNotExist)), "[settings away] 5 true")
		d.replace(`{"author":"bob","nodes":{"till-1":{"retry":{"attempts":6}},"till-2":{"retry":{"attempts":7}}}}`)
		want(t, "back", fmt.Sprint(d.said(), d.Retry().Attempts, d.Access().Default, d.Away()), "[settings changed settings changed settings back] 6  <nil>")
		d.replace(`{"author":"bob"}`)
		want(t, "nothing", fmt.Sprint(d.said(), d.Retry().Attempts), "[settings changed] 0")
	})
}

// A file that looks as it did, to the byte and the second, is read again after a while.
func TestSameSizeAndTime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		d := newDesk(t, first)
		defer d.close()
		d.said()
		info, err := os.Stat(d.path)
		if err != nil {
			t.Fatal(err)
		}
		d.write(strings.Replace(first, "3", "4", 1)+" ", d.path)
		if err := os.Chtimes(d.path, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * file.DefaultPeriod)
		want(t, "in force", d.Retry().Attempts, 4)
	})
}

func TestRefusedAsAWhole(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		d := newDesk(t, first)
		defer d.close()
		for _, text := range []string{`[]`, `{"retry":{"attempts":4}}`, `{"author":"ann","retries":{}}`, `{"author":"ann","nodes":{"a.b":{"log":{}}}}`, `{"author":"ann","nodes":{"a":{"logs":{}}}}`,
			`{"author":"ann","retry":{},"retry":{}}`, `{"author":"ann"}x`, strings.Repeat("[", 100_000), `{"author":"ann","note":"` + strings.Repeat("x", file.MaxFile) + `"}`} {
			d.said()
			d.replace(text)
			want(t, fmt.Sprintf("%.60s", text), fmt.Sprint(d.said(), d.Retry().Attempts), "[settings refused] 3")
		}
		pad := strings.Repeat(" ", file.MaxFile-1-len(`{"author":"ann"}`))
		d.replace(`{"author":"ann"}` + pad)
		want(t, "a file that is just not too large", fmt.Sprint(d.said(), d.Retry().Attempts), "[settings changed] 0")
	})
	for _, cfg := range []file.Config{{}, {Path: "x", Period: -1}} {
		if _, err := file.New(cfg); rpc.CodeOf(err) != rpc.Invalid {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
