package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestValid(t *testing.T) {
	long := strings.Repeat("x", MaxName)
	largest := &Proof{Boot: long, Namespace: long, PID: 1}
	for _, n := range []Node{
		{Name: "a", Epoch: "E-1_z"},
		{Name: long, Epoch: long},
		{Name: "a", Epoch: "e", Version: "v1.2.3+né", Zone: "eu west/1", Weight: 1, Proof: &Proof{PID: 1}},
		{Name: "a", Epoch: "e", Version: long, Zone: long, Weight: MaxWeight, Proof: largest, Topics: topicsOf(MaxTopics), Principal: strings.Repeat("p", MaxWho), Kinds: kindsOf(MaxKinds)},
		{Name: "a", Epoch: "e", Kinds: map[string]string{strings.Repeat("k", MaxKind): long, "é": ""}},
	} {
		if err := n.Valid(); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", long + "x", "a.b", "a b", "a*", ">", "é", "a\x00"} {
		if err := (Node{Name: s, Epoch: "e"}).Valid(); !errors.Is(err, ErrInvalid) {
			t.Errorf("name %q: %v", s, err)
		}
		if err := (Node{Name: "a", Epoch: s}).Valid(); !errors.Is(err, ErrInvalid) {
			t.Errorf("epoch %q: %v", s, err)
		}
	}
	for what, change := range map[string]func(*Node){
		"a version that is too long":   func(n *Node) { n.Version = long + "x" },
		"a version with a line break":  func(n *Node) { n.Version = "1\n2" },
		"a zone that is too long":      func(n *Node) { n.Zone = long + "x" },
		"a zone that is not text":      func(n *Node) { n.Zone = "\xff" },
		"a principal that is too long": func(n *Node) { n.Principal = strings.Repeat("p", MaxWho+1) },
		"a principal that is no text":  func(n *Node) { n.Principal = "a\x00b" },
		"a pattern that is too long":   func(n *Node) { n.Topics = map[string][]string{strings.Repeat("x", MaxTopic+1): {""}} },
		"a pattern that is no text":    func(n *Node) { n.Topics = map[string][]string{"a\x00": {""}} },
		"a pattern without groups":     func(n *Node) { n.Topics = map[string][]string{"a": nil} },
		"an empty pattern":             func(n *Node) { n.Topics = map[string][]string{"": {""}} },
		"a group that is too long":     func(n *Node) { n.Topics = map[string][]string{"a": {strings.Repeat("x", MaxTopic+1)}} },
		"topics one beyond the limit":  func(n *Node) { n.Topics = topicsOf(MaxTopics + 1) },
		"a kind without a name":        func(n *Node) { n.Kinds = map[string]string{"": "1"} },
		"a kind that is too long":      func(n *Node) { n.Kinds = map[string]string{strings.Repeat("k", MaxKind+1): ""} },
		"a kind that is no text":       func(n *Node) { n.Kinds = map[string]string{"a\x00": ""} },
		"a kind's version too long":    func(n *Node) { n.Kinds = map[string]string{"a": long + "x"} },
		"a kind's version is no text":  func(n *Node) { n.Kinds = map[string]string{"a": "\xff"} },
		"kinds one beyond the limit":   func(n *Node) { n.Kinds = kindsOf(MaxKinds + 1) },
		"a weight below 0":             func(n *Node) { n.Weight = -1 },
		"a weight that is too large":   func(n *Node) { n.Weight = MaxWeight + 1 },
		"a proof without a process":    func(n *Node) { n.Proof = &Proof{} },
		"a boot that is too long":      func(n *Node) { n.Proof = &Proof{PID: 1, Boot: long + "x"} },
		"a namespace that is too long": func(n *Node) { n.Proof = &Proof{PID: 1, Namespace: long + "x"} },
	} {
		n := Node{Name: "a", Epoch: "e"}
		if change(&n); !errors.Is(n.Valid(), ErrInvalid) {
			t.Errorf("%s: %v", what, n.Valid())
		}
	}
}

func TestEqual(t *testing.T) {
	n := Node{Name: "a", Epoch: "e", Addrs: map[string]string{"tcp": "x"}, Services: map[string][]string{"s": {"1", "2"}},
		Kinds: map[string]string{"k": "1"}, Version: "1", Zone: "z", Weight: 2, Proof: &Proof{Boot: "b", Namespace: "n", PID: 1, Started: 2}}
	if !n.Equal(n.Clone()) || !(Node{}).Equal(Node{}.Clone()) {
		t.Error("a clone differs")
	}
	for _, change := range []func(*Node){
		func(o *Node) { o.Name = "b" },
		func(o *Node) { o.Epoch = "f" },
		func(o *Node) { o.Addrs["tcp"] = "y" },
		func(o *Node) { o.Services["s"][1] = "3" },
		func(o *Node) { o.Topics = map[string][]string{"a": {""}} },
		func(o *Node) { o.Services["t"] = nil },
		func(o *Node) { o.Kinds["k"] = "2" },
		func(o *Node) { o.Kinds = nil },
		func(o *Node) { o.Version = "2" },
		func(o *Node) { o.Zone = "y" },
		func(o *Node) { o.Principal = "tls:a" },
		func(o *Node) { o.Weight = 3 },
		func(o *Node) { o.Proof = nil },
		func(o *Node) { o.Proof.Started = 3 },
	} {
		o := n.Clone()
		if change(&o); n.Equal(o) || o.Equal(n) {
			t.Errorf("%v equals %v", n, o)
		}
	}
}

func TestInstances(t *testing.T) {
	got := Instances([]Node{
		{Name: "a", Epoch: "1", Services: map[string][]string{"s": {"x", "y"}, "t": {"z"}}},
		{Name: "b", Epoch: "2"},
		{Name: "c", Epoch: "3", Services: map[string][]string{"s": {"x"}}},
	}, "s")
	want := []Instance{{"a", "1", "x"}, {"a", "1", "y"}, {"c", "3", "x"}}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestChangeString(t *testing.T) {
	if s := Expired.String() + Change(0).String(); s != "expired?" {
		t.Error(s)
	}
}

// topicsOf returns topics of that size.
func topicsOf(size int) map[string][]string {
	topics := map[string][]string{}
	for i := 0; size > 0; i++ {
		pattern := fmt.Sprintf("t%05d", i)
		if left := size - TopicSize(pattern, ""); left < 2*TopicSize(pattern, "") {
			pattern += strings.Repeat("x", left)
		}
		topics[pattern] = []string{""}
		size -= TopicSize(pattern, "")
	}
	return topics
}

// A TopicSize is never less than what JSON takes, so that a record with the most topics fits.
func TestTopicSize(t *testing.T) {
	for _, s := range []string{"a.b", "prices.>", "é.*", "<&>.\"\\", "\u2028.x"} {
		topics := map[string][]string{s: {"", s}}
		text, err := json.Marshal(topics)
		if got := TopicSize(s, "", s); err != nil || len(text)-2 > got {
			t.Errorf("%q: %d bytes as JSON, size %d", s, len(text)-2, got)
		}
	}
	n := Node{Name: "a", Epoch: "e", Topics: topicsOf(MaxTopics), Kinds: kindsOf(MaxKinds)}
	if text, err := json.Marshal(n); err != nil || len(text) > MaxRecord*2/3 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

// kindsOf returns kinds of that size.
func kindsOf(size int) map[string]string {
	kinds := map[string]string{}
	for i := 0; size > 0; i++ {
		kind := fmt.Sprintf("k%05d", i)
		if left := size - KindSize(kind, ""); left < 2*KindSize(kind, "") {
			kind += strings.Repeat("x", left)
		}
		kinds[kind] = ""
		size -= KindSize(kind, "")
	}
	return kinds
}

// A KindSize is never less than what JSON takes.
func TestKindSize(t *testing.T) {
	for _, s := range []string{"bank.account", "é", "<&>.\"\\", "\u2028"} {
		text, err := json.Marshal(map[string]string{s: s})
		if got := KindSize(s, s); err != nil || len(text)-2 > got {
			t.Errorf("%q: %d bytes as JSON, size %d", s, len(text)-2, got)
		}
	}
}

// The text of a record, which nodes of other versions read.
func TestGolden(t *testing.T) {
	n := Node{Name: "a", Epoch: "e", Kinds: map[string]string{"bank.account": "2", "till": ""}}
	const want = `{"name":"a","epoch":"e","kinds":{"bank.account":"2","till":""}}`
	text, err := json.Marshal(n)
	if err != nil || string(text) != want {
		t.Errorf("got %s, %v", text, err)
	}
	var back Node
	if err := json.Unmarshal([]byte(want), &back); err != nil || !back.Equal(n) {
		t.Errorf("got %+v, %v", back, err)
	}
	if text, err := json.Marshal(Node{Name: "a", Epoch: "e"}); err != nil || string(text) != `{"name":"a","epoch":"e"}` {
		t.Errorf("without kinds: %s, %v", text, err)
	}
}
