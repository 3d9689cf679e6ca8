package topic

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestValid(t *testing.T) {
	for s, want := range map[string]struct{ name, pattern bool }{
		"prices":                                {true, true},
		"prices.eur":                            {true, true},
		"preise.€":                              {true, true},
		"prices.*":                              {false, true},
		"*.eur":                                 {false, true},
		"*":                                     {false, true},
		">":                                     {false, true},
		"prices.>":                              {false, true},
		"prices.>.eur":                          {false, false},
		"prices.e*":                             {false, false},
		"prices.>>":                             {false, false},
		"":                                      {false, false},
		".":                                     {false, false},
		"prices.":                               {false, false},
		".prices":                               {false, false},
		"prices..eur":                           {false, false},
		"two words":                             {false, false},
		"line\nfeed":                            {false, false},
		"\xff":                                  {false, false},
		strings.Repeat("a", MaxLength):          {true, true},
		strings.Repeat("a", MaxLength+1):        {false, false},
		strings.Repeat("a.", MaxTokens) + "a":   {false, false},
		strings.Repeat("a.", MaxTokens-1) + "a": {true, true},
	} {
		if err := ValidName(s); (err == nil) != want.name || err != nil && !errors.Is(err, ErrName) {
			t.Errorf("name %q: %v", s, err)
		}
		if err := ValidPattern(s); (err == nil) != want.pattern || err != nil && !errors.Is(err, ErrPattern) {
			t.Errorf("pattern %q: %v", s, err)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, row := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a", "a.b", false}, {"a.b", "a", false},
		{"*", "a", true}, {"*", "a.b", false}, {"a.*", "a", false}, {"a.*", "a.b", true}, {"*.b", "a.b", true},
		{">", "a", true}, {">", "a.b.c", true}, {"a.>", "a", false}, {"a.>", "a.b.c", true}, {"*.>", "a.b", true},
		{"a.*.c", "a.b.c", true}, {"a.*.c", "a.b.d", false},
		{"a.>", "a.*", true}, {"a.*", "a.>", false}, {"a.*", "a.*", true}, {"a.b", "a.*", false}, {">", ">", true}, {"a.>", ">", false}, {"*.*", "a.*", true},
	} {
		if got := Match(row.pattern, row.name); got != row.want {
			t.Errorf("Match(%q, %q) is %v", row.pattern, row.name, got)
		}
	}
}

func TestSettle(t *testing.T) {
	if s, err := Settle(Group("workers"), WhenFull(Unsubscribe)); err != nil || s != (Settings{Group: "workers", Full: Unsubscribe}) {
		t.Errorf("%+v, %v", s, err)
	}
	for _, o := range []Option{Group(""), Group("a.b"), Group("*"), Group("a b"), WhenFull(9)} {
		if _, err := Settle(o); !errors.Is(err, ErrOption) {
			t.Error(err)
		}
	}
	if DropNewest.String() != "drop-newest" || DropOldest.String() != "drop-oldest" || Unsubscribe.String() != "unsubscribe" || Full(9).String() != "full(9)" {
		t.Error("names of policies")
	}
}

// random returns a row of one to four tokens of few letters.
func random(r *rand.Rand, wild bool) string {
	letters := []string{"a", "b", "c"}
	if wild {
		letters = append(letters, "*", "*")
	}
	var tokens []string
	for range 1 + r.IntN(4) {
		tokens = append(tokens, letters[r.IntN(len(letters))])
	}
	if wild && r.IntN(4) == 0 {
		tokens[len(tokens)-1] = ">"
	}
	return strings.Join(tokens, ".")
}

// The index finds what comparing with each pattern finds, and what was removed it does not find.
func TestIndexFindsWhatMatches(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		var x Index[int]
		patterns := map[int]string{}
		for i := range 300 {
			switch r.IntN(3) {
			case 0, 1:
				p := random(r, true)
				if err := x.Add(p, i); err != nil {
					t.Fatal(err)
				}
				patterns[i] = p
			default:
				for v, p := range patterns {
					if !x.Remove(p, v) || x.Remove(p, v) {
						t.Fatalf("seed %d: removing %d under %s", seed, v, p)
					}
					delete(patterns, v)
					break
				}
			}
			if x.Len() != len(patterns) {
				t.Fatalf("seed %d: %d values, want %d", seed, x.Len(), len(patterns))
			}
			name := random(r, false)
			var want []int
			for v, p := range patterns {
				if Match(p, name) {
					want = append(want, v)
				}
			}
			got := x.Append(nil, name)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: %s: found %v, want %v of %v", seed, name, got, want, patterns)
			}
		}
		for v, p := range patterns {
			x.Remove(p, v)
		}
		if !x.root.empty() {
			t.Fatalf("seed %d: an empty index holds levels", seed)
		}
	}
}

func TestIndexRefuses(t *testing.T) {
	var x Index[int]
	if err := x.Add("a..b", 1); !errors.Is(err, ErrPattern) || x.Len() != 0 || x.Remove("a..b", 1) {
		t.Error(err)
	}
}

// FuzzMatch checks that whatever a pattern and a name are, the index and Match agree.
func FuzzMatch(f *testing.F) {
	for _, s := range []string{"a", "a.*", ">", "a.>", "*.b", "..", "é.*"} {
		f.Add(s, "a.b")
		f.Add("a.>", s)
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		var x Index[int]
		if x.Add(pattern, 1) != nil || ValidName(name) != nil {
			x.Append(nil, name)
			x.Remove(name, 1)
			return
		}
		if got := len(x.Append(nil, name)) == 1; got != Match(pattern, name) {
			t.Errorf("%q, %q: the index says %v", pattern, name, got)
		}
		if ValidName(pattern) == nil && Match(pattern, name) != (pattern == name) {
			t.Errorf("name %q matches %q", pattern, name)
		}
		if !x.Remove(pattern, 1) || !x.root.empty() {
			t.Errorf("%q is still there", pattern)
		}
	})
}

func BenchmarkIndex(b *testing.B) {
	var x Index[int]
	for i := range 10_000 {
		_ = x.Add("prices."+string(rune('a'+i%26))+"."+strings.Repeat("x", 1+i/26%100), i)
	}
	_ = x.Add("prices.>", -1)
	_ = x.Add("prices.*.xxxx", -2)
	b.ReportAllocs()
	var found []int
	for b.Loop() {
		found = x.Append(found[:0], "prices.q.xxxx")
	}
}
