package actor_test

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tandem-go/tandem/actor"
)

// The compiler refuses every mismatch of message, handler, verb and result in
// testdata/misuse, and nothing else there.
func TestStreamMisuseDoesNotCompile(t *testing.T) {
	const file = "testdata/misuse/misuse.go"
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want []int
	for i, line := range strings.Split(string(source), "\n") {
		if strings.Contains(line, "// want:") {
			want = append(want, i+1)
		}
	}
	out, err := exec.Command("go", "build", "-gcflags=-e", "./testdata/misuse").CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		t.Fatalf("it compiles: %v\n%s", err, out)
	}
	var got []int
	for _, m := range regexp.MustCompile(`(?m)misuse\.go:(\d+):`).FindAllSubmatch(out, -1) {
		n, _ := strconv.Atoi(string(m[1]))
		got = append(got, n)
	}
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("lines %v do not compile, want %v:\n%s", got, want, out)
	}
}

// TwoAnswers and StreamAndReply declare two answers each, which is not possible.
type TwoAnswers struct {
	actor.Streams[int]
	actor.Collects[int, int]
}
type StreamAndReply struct {
	actor.Streams[int]
	actor.Returns[int]
}

// Reads is a Receiver, which accepts any message.
type Reads struct{}

func (Reads) Receive(*actor.Context) error { return nil }

// Define refuses the mistakes that the compiler cannot detect.
func TestStreamMisuseIsNotDefined(t *testing.T) {
	for name, define := range map[string]func(){
		"handled": func() {
			actor.Define("k", func() int { return 0 }, actor.Handle(func(int, *actor.Context, List) error { return nil }))
		},
		"an upload handled": func() {
			actor.Define("k", func() int { return 0 }, actor.Handle(func(int, *actor.Context, Upload) error { return nil }))
		},
		"a dialogue handled": func() {
			actor.Define("k", func() int { return 0 }, actor.Handle(func(int, *actor.Context, Parrot) error { return nil }))
		},
		"accepted": func() {
			actor.Define("k", func() Reads { return Reads{} }, actor.Accepts[Reads, List]())
		},
		"two answers": func() {
			actor.Define("k", func() int { return 0 }, actor.Produce(func(int, *actor.Context, TwoAnswers) (iter.Seq2[int, error], error) { return nil, nil }))
		},
		"a stream and a reply": func() {
			actor.Define("k", func() int { return 0 }, actor.Produce(func(int, *actor.Context, StreamAndReply) (iter.Seq2[int, error], error) { return nil, nil }))
		},
		"a reply and a stream": func() {
			actor.Define("k", func() int { return 0 }, actor.Answer(func(int, *actor.Context, StreamAndReply) (int, error) { return 0, nil }))
		},
		"two handlers": func() {
			list := actor.Produce(func(int, *actor.Context, List) (iter.Seq2[Item, error], error) { return nil, nil })
			actor.Define("k", func() int { return 0 }, list, list)
		},
	} {
		func() {
			defer func() {
				if r := fmt.Sprint(recover()); !strings.Contains(r, "message") {
					t.Errorf("%s: %s", name, r)
				}
			}()
			define()
		}()
	}
}
