// Package file reads settings from a file, for those who have no NATS, or who want to keep them under version
// control. Each node reads its own copy of the file.
//
//	{
//	  "author": "ann",
//	  "note": "the sale begins",
//	  "log": {"level": "debug"},
//	  "limits": {"limits": [{"name": "search", "services": ["search"], "concurrent": 64}]},
//	  "nodes": {"till-1": {"log": {"level": "info"}}}
//	}
//
// A section is the value that [settings.ParseValue] takes. A section that is not there is as the node's Config says. One
// that is wrong is refused alone; a file that is no such document, for example because only half of it is written yet, is refused as
// a whole. In both cases the last good settings stay in force. A file that is away changes nothing.
//
// The file is looked at every second, unless Config says otherwise, and read if it looks changed. It is best replaced by a rename,
// which is atomic; writing into it works, too. The revision of a section counts how often the file has changed since
// the process started, so it says nothing about other nodes; the time is that of the file.
package file

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/tandem-go/tandem/internal/strictjson"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/settings"
)

// Defaults of Config.
const (
	DefaultPeriod = time.Second
	MaxFile       = 4 << 20 // bytes; a larger file is refused
)

// rereadAfter is how many periods pass before a file is read again that looks the same: its size and its time may be the
// same by chance.
const rereadAfter = 10

// Config says which file it is.
type Config struct {
	Path   string        // required
	Period time.Duration // between two looks at the file; default 1 s
}

// Source is a [settings.Source]. Each call of Follow reads the file by itself, so it may be used concurrently.
type Source struct{ cfg Config }

var _ settings.Source = (*Source)(nil)

// New returns a source. Whether there is a file is found out later.
func New(cfg Config) (*Source, error) {
	if cfg.Path == "" || cfg.Period < 0 {
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "settings/file: Path is %q, Period is %v", cfg.Path, cfg.Period)
	}
	if cfg.Period == 0 {
		cfg.Period = DefaultPeriod
	}
	return &Source{cfg}, nil
}

// Follow implements settings.Source.
func (s *Source) Follow(ctx context.Context, take func(settings.Update)) error {
	every := time.NewTicker(s.cfg.Period)
	defer every.Stop()
	f := following{path: s.cfg.Path}
	for {
		if u, changed := f.look(); changed {
			take(u)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-every.C:
		}
	}
}

// following is what one Follow knows of the file.
type following struct {
	path string
	now  contents

	same   int         // looks since the file was read
	info   fs.FileInfo // of when it was read
	hash   [sha256.Size]byte
	away   bool
	missed bool // it was read while it was being written, or not at all: the next look reads it
	known  bool // it was read once
}

// look returns what has changed since the last look.
func (f *following) look() (u settings.Update, changed bool) {
	info, err := os.Stat(f.path)
	if err != nil {
		return f.lost(err)
	}
	if f.known && !f.away && !f.missed && alike(info, f.info) {
		if f.same++; f.same < rereadAfter {
			return u, false
		}
	}
	data, err := read(f.path)
	if err != nil {
		return f.lost(err)
	}
	again, err := os.Stat(f.path) // it may have changed between the two
	f.missed = err != nil || !alike(again, info)
	f.same, f.info = 0, info
	hash := sha256.Sum256(data)
	if f.known && !f.away && hash == f.hash {
		return u, false
	}
	f.known, f.away, f.hash = true, false, hash
	return settings.Update{Source: f.path, Whole: true, Entries: f.now.next(data, info.ModTime())}, true
}

// alike reports whether a file looks as it did: it is the same one, and has the same size and time.
func alike(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// lost says once that the file cannot be read.
func (f *following) lost(err error) (settings.Update, bool) {
	if f.away {
		return settings.Update{}, false
	}
	f.away = true
	return settings.Update{Away: rpc.Errorf(rpc.Unavailable, rpc.NotRun, "settings/file: %w", err)}, true
}

// read returns what is in a file, but no more than shows that it is too large.
func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, MaxFile+1))
}

// contents are the sections of a file. It is pure.
type contents struct {
	revision uint64 // of the file
	sections map[string]section
}

// section is a section of the file, as it was when it was changed last.
type section struct {
	value string // without the author, who may have changed another one
	settings.Entry
}

// errTooLarge is why a file is refused as a whole.
var errTooLarge = fmt.Errorf("the file is larger than %d bytes", MaxFile)

// next returns the entries of a file that has changed. A section that says the same as before keeps its revision.
// Of a file that is refused as a whole, it returns the sections before, and an entry without a section for itself.
func (c *contents) next(data []byte, at time.Time) []settings.Entry {
	c.revision++
	sections, err := split(data)
	if err != nil {
		broken := settings.Entry{Key: settings.WholeDocument, Revision: c.revision, Time: at, Err: rpc.Errorf(rpc.Invalid, rpc.NotRun, "settings/file: %w", err)}
		return append(c.list(), broken)
	}
	for key, s := range sections {
		if before, ok := c.sections[key]; ok && before.value == s.value {
			s.Entry = before.Entry
		} else {
			s.Key, s.Revision, s.Time = key, c.revision, at
		}
		sections[key] = s
	}
	c.sections = sections
	return c.list()
}

func (c *contents) list() (all []settings.Entry) {
	for _, s := range c.sections {
		all = append(all, s.Entry)
	}
	return all
}

// split returns the sections in a file, by their keys.
func split(data []byte) (map[string]section, error) {
	if len(data) > MaxFile {
		return nil, errTooLarge
	}
	author, note := json.RawMessage(nil), json.RawMessage(nil)
	values := map[string]json.RawMessage{}
	add := func(node string) func(name string, value json.RawMessage) error {
		return func(name string, value json.RawMessage) error {
			key := settings.Key{Section: settings.Section(name), Node: node}.String()
			if _, err := settings.ParseKey(key); err != nil {
				return strictjson.ErrUnknown
			}
			values[key] = value
			return nil
		}
	}
	err := strictjson.Each(data, func(name string, value json.RawMessage) error {
		switch name {
		case "author":
			author = value
			return nil
		case "note":
			note = value
			return nil
		case "nodes":
			return strictjson.Each(value, func(node string, value json.RawMessage) error { return strictjson.Each(value, add(node)) })
		}
		return add("")(name, value)
	})
	if err == nil && author == nil {
		err = &strictjson.Error{Name: "author", Err: settings.ErrNoAuthor}
	}
	if err != nil {
		return nil, err
	}
	all := map[string]section{}
	for key, value := range values {
		doc, err := json.Marshal(struct {
			Author json.RawMessage `json:"author"`
			Note   json.RawMessage `json:"note,omitempty"`
			Value  json.RawMessage `json:"value"`
		}{author, note, value})
		if err != nil {
			return nil, err
		}
		all[key] = section{string(value), settings.Entry{Data: doc}}
	}
	return all, nil
}
