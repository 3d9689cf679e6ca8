package actor

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

type node struct {
	Next *node
	Text string
}

type guarded struct {
	mu   sync.Mutex
	seen []string
}

// The size of a message includes what it refers to, but nothing that others may be changing.
func TestLetterSize(t *testing.T) {
	const most = 1 << 20
	text := strings.Repeat("x", 1000)
	sys, err := NewSystem(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Shutdown(t.Context())
	loop := &node{Text: text}
	loop.Next = loop
	long := (*node)(nil)
	for range 100_000 {
		long = &node{long, ""}
	}
	shared := []byte(text)
	g := &guarded{}
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() { // the race detector would find a reader
		for {
			select {
			case <-stop:
				return
			default:
				g.mu.Lock()
				g.seen = append(g.seen[:0], text, text)
				g.mu.Unlock()
			}
		}
	})
	for name, row := range map[string]struct {
		msg      any
		min, max int
	}{
		"nothing":                     {nil, 0, 0},
		"a number":                    {7, 8, 8},
		"a plain struct":              {struct{ A, B int32 }{}, 8, 8},
		"a string":                    {text, 1016, 1016},
		"bytes":                       {shared, 1024, 1100},
		"unexported fields of itself": {struct{ text string }{text}, 1016, 1016},
		"behind a pointer":            {&node{Text: text}, 1000, 1100},
		"a pointer to no message":     {(*node)(nil), 8, 8},
		"a pointer and unexported":    {&struct{ text string }{text}, 1000, 1100},
		"a loop":                      {loop, 1000, 1100},
		"a list":                      {long, 24 * 30_000, most + 100},
		"twice the same":              {[][]byte{shared, shared}, 1000, 1200},
		"a map":                       {map[string]string{"a": text, text: ""}, 2000, 2200},
		"a map of numbers":            {map[int]int{1: 1, 2: 2}, 32, 64},
		"interfaces":                  {[]any{text, 1, nil, &node{Text: text}}, 2000, 2300},
		"an array":                    {[2]string{text, text}, 2032, 2032},
		"spare room counts":           {make([]byte, 1, 5000), 5000, 5100},
		"a ref":                       {struct{ To Ref }{sys.Ref("x")}, 16, 16},
		"a channel and a function":    {struct{ C, F any }{make(chan int, 1000), t.Context}, 32, 80},
		"a mutex of others":           {struct{ G *guarded }{g}, 8, 100},
		"a buffer of others":          {struct{ B *bytes.Buffer }{bytes.NewBuffer(shared)}, 8, 100},
		"a time":                      {struct{ T time.Time }{time.Now()}, 24, 400},
		"more than most":              {make([]byte, most+1), most + 1, 2 * most},
		"many empty strings":          {make([]string, 60_000), 16 * 60_000, 17 * 60_000},
		"more pointers than it reads": {make([]*node, 100_000), 800_000, 1 << 62},
	} {
		if got := sizeOf(row.msg, most); got < row.min || got > row.max {
			t.Errorf("%s: %d bytes, want %d to %d", name, got, row.min, row.max)
		}
	}
	close(stop)
	writer.Wait()
}
