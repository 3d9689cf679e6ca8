//go:build unix

package procs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// records says what servers keep beyond their death.
type records string

const (
	inMemory      records = ""
	inStore       records = "Tandem's own, in JetStream, on three nodes"
	inTransaction records = "the application's own, in the transaction of the effect"
)

const commitsDir = "commits"

// commits is an application's store of transactions, in a folder: a file is a
// transaction's effect and its completion record in one. It is there whole or not at
// all, because it comes by a link; an empty one voids its id.
type commits struct{ dir string }

func (c commits) file(id string) string { return filepath.Join(c.dir, commitsDir, id) }

var errVoid = errors.New("the request was settled before it was committed")

// commit has the effect that is operation op.
func (c commits) commit(id string, op uint64, outcome []byte) error {
	tmp, err := os.CreateTemp(c.dir, "commit-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(binary.BigEndian.AppendUint64(nil, op), outcome...))
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), c.file(id)); errors.Is(err, fs.ErrExist) {
		return errVoid
	} else {
		return err
	}
}

// Completed and Void make commits a ledger.Completions.
func (c commits) Completed(_ context.Context, id string) (outcome []byte, found bool, err error) {
	b, err := os.ReadFile(c.file(id))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case err != nil || len(b) == 0:
		return nil, false, err
	}
	return b[8:], true, nil
}

func (c commits) Void(ctx context.Context, id string) (outcome []byte, found bool, err error) {
	f, err := os.OpenFile(c.file(id), os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return c.Completed(ctx, id)
	}
	if err == nil {
		err = f.Close()
	}
	return nil, false, err
}

// read hands what was committed to take, except for what seen has, to which it is added.
func (c commits) read(seen map[string]bool, take func(record)) error {
	entries, err := os.ReadDir(filepath.Join(c.dir, commitsDir))
	for _, e := range entries {
		if seen[e.Name()] {
			continue
		}
		b, err := os.ReadFile(c.file(e.Name()))
		if err != nil {
			return err
		}
		switch {
		case len(b) == 0:
		case len(b) < 8:
			return fmt.Errorf("a torn commit: %s", e.Name())
		default:
			seen[e.Name()] = true
			take(record{sort: ran, op: binary.BigEndian.Uint64(b)})
		}
	}
	return err
}
