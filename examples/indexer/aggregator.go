package main

import "github.com/tandem-go/tandem/actor"

// Result contains the index of a file. The reply acknowledges it: true if the file was counted,
// false if it had been counted before.
type Result struct {
	actor.Returns[bool]
	Worker string // the node that made it
	File   FileIndex
}

func (Result) WireName() string { return "indexer.Result" }

// Progress asks for the progress of the job.
type Progress struct{ actor.Returns[Status] }

// Status is the answer.
type Status struct {
	Files       int
	Bytes       int64
	Identifiers int64
	Failed      int
	Duplicates  int // results of files that had been counted before
	Workers     int // workers that have sent results
}

// Top asks for the N most used identifiers so far.
type Top struct {
	actor.Returns[[]Count]
	N int
}

// Snapshot asks for the whole index. It can only be sent within this process, because a whole
// index is far larger than a message to another node may be.
type Snapshot struct{ actor.Returns[*Index] }

// Aggregator is the actor that adds up the indexes of the files. It counts each file once, however
// often its result comes. So workers may send a result again if the outcome is unknown, and a file
// may be handed out twice.
type Aggregator struct {
	index      *Index
	counted    map[string]bool
	workers    map[string]bool
	duplicates int
}

var aggregatorKind = actor.Define("indexer.aggregator",
	func() *Aggregator {
		return &Aggregator{index: newIndex(), counted: map[string]bool{}, workers: map[string]bool{}}
	},
	actor.Answer((*Aggregator).Result),
	actor.Answer((*Aggregator).Progress),
	actor.Answer((*Aggregator).Top),
	actor.Answer((*Aggregator).Snapshot))

func (a *Aggregator) Result(ctx *actor.Context, m Result) (counted bool, err error) {
	if a.counted[m.File.Path] {
		a.duplicates++
		return false, nil
	}
	a.index.Add(m.File)
	a.counted[m.File.Path], a.workers[m.Worker] = true, true
	return true, nil
}

func (a *Aggregator) Progress(ctx *actor.Context, m Progress) (Status, error) {
	return Status{Files: a.index.Files, Bytes: a.index.Bytes, Identifiers: a.index.Identifiers,
		Failed: len(a.index.Failed), Duplicates: a.duplicates, Workers: len(a.workers)}, nil
}

func (a *Aggregator) Top(ctx *actor.Context, m Top) ([]Count, error) { return a.index.Top(m.N), nil }

// Snapshot answers with a copy, because this actor goes on while the caller reads it.
func (a *Aggregator) Snapshot(ctx *actor.Context, m Snapshot) (*Index, error) {
	return a.index.Clone(), nil
}
