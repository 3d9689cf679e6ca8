package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/transport/tcp"
)

// testJob is a job whose main node is up, and nothing else.
func testJob(t *testing.T, o options) *job {
	t.Helper()
	o.nats, o.job = natsServer(t), "test"
	n, err := join(o.nats, o.job, mainNode, tcp.Config{Listen: "127.0.0.1:0"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.leave(); err != nil {
			t.Errorf("leaving: %v", err)
		}
	})
	return &job{options: o, node: n, events: n.Events(t.Context()), show: &lines{w: t.Output(), last: time.Now()}}
}

// lead starts the actors and the workers.
func (j *job) lead(t *testing.T, files []string) {
	t.Helper()
	if j.files.IsZero() {
		if err := j.spawn(t.Context(), files); err != nil {
			t.Fatal(err)
		}
	}
	j.total = len(files)
	var err error
	if j.crew, err = startCrew(j.options, t.Output()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.crew.dismiss)
}

// Assassin stands between the workers and the aggregator. It passes results on, and
// kills -9 the first worker that is in the middle of its second batch: after its
// result was counted, before it was acknowledged.
type Assassin struct {
	aggregator actor.Ref
	kill       func(worker string) error
	results    map[string]int // by worker
	victim     string
}

const fatal = batchSize + batchSize/4

func (a *Assassin) Result(ctx *actor.Context, m Result) (bool, error) {
	counted, err := actor.Call(ctx, a.aggregator, m)
	if a.results[m.Worker]++; err == nil && a.victim == "" && a.results[m.Worker] == fatal {
		a.victim = m.Worker
		err = a.kill(m.Worker)
	}
	return counted, err
}

func TestKilledWorker(t *testing.T) {
	goroot, err := toolchain()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(goroot, "src", "net")
	folder, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	files, err := goFiles(folder)
	if err != nil || len(files) < 10*batchSize {
		t.Fatalf("%d files, %v", len(files), err)
	}

	j := testJob(t, options{folder: dir, workers: 2})
	started := make(chan []*exec.Cmd, 1)
	kill := func(worker string) error {
		for _, w := range <-started {
			if strings.HasSuffix(worker, fmt.Sprintf("-%d", w.Process.Pid)) {
				return w.Process.Kill()
			}
		}
		return os.ErrNotExist
	}
	if j.aggregator, err = j.Spawn("", aggregatorKind); err != nil {
		t.Fatal(err)
	}
	assassin, err := j.Spawn("", actor.Define("indexer.assassin",
		func() *Assassin { return &Assassin{aggregator: j.aggregator, kill: kill, results: map[string]int{}} },
		actor.Answer((*Assassin).Result)))
	if err != nil {
		t.Fatal(err)
	}
	if j.files, err = j.Spawn(filesName, filesKind(len(files))); err != nil {
		t.Fatal(err)
	}
	if err := fill(t.Context(), j.files, files, assassin); err != nil {
		t.Fatal(err)
	}
	j.lead(t, files)
	started <- j.crew.workers
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // or files that are lost would hang it
	defer cancel()
	if err := j.follow(ctx); err != nil {
		t.Fatal(err)
	}

	got, err := actor.Call(t.Context(), j.aggregator, Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range got.Diff(indexAlone(folder, files)) {
		t.Error(line)
	}
	queue, err := actor.QueueStats[File](t.Context(), j.files)
	if again := queue.Redeliveries; err != nil || again < 1 || again > batchSize {
		t.Errorf("%d files handed out again, %v: want one batch at most", again, err)
	}
	if j.crew.running != 1 {
		t.Errorf("%d workers are left, want 1", j.crew.running)
	}
}
