package mailbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// letter is a message of the tables: its class, its sender, and what it says, as in "ua1": urgent,
// from a, the first one.
type letter string

func placeOfLetter(l *letter) Place {
	class := Class(strings.IndexByte("lnhu", (*l)[0])) + Low
	return Place{Class: class, Sender: Sender{Actor: string((*l)[1:2])}}
}

// letterBox makes a box with letters in it.
func letterBox(t *testing.T, c Config, letters string) *Box[letter] {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	b := new(Box[letter])
	b.InitOrdered(&c, placeOfLetter)
	for _, l := range strings.Fields(letters) {
		if _, ok := b.Push(letter(l)); !ok {
			t.Fatalf("no room for %s", l)
		}
	}
	return b
}

// takeLetters returns all that comes out, and until the box is idle.
func takeLetters(b *Box[letter]) string {
	var all []string
	for batch := b.Take(nil); batch != nil; batch = b.Take(batch) {
		for _, l := range batch.Messages() {
			all = append(all, string(l))
		}
	}
	return strings.Join(all, " ")
}

func TestOrder(t *testing.T) {
	for _, row := range []struct{ name, in, out string }{
		{"one class", "na1 nb1 na2", "na1 nb1 na2"},
		{"higher first", "la1 na1 ha1 ua1", "ua1 ha1 na1 la1"},
		{"in order within a class", "na1 ua1 nb1 ua2 na2 ub1", "ua1 ua2 ub1 na1 nb1 na2"},
		{"overtake 2: a low one after two higher ones", "la1 la2 ua1 ua2 ua3 ua4 ua5", "ua1 ua2 la1 ua3 ua4 la2 ua5"},
		{"overtake 2: of several the lowest first, which overtakes nobody", "la1 na1 ha1 ua1 ua2 ua3", "ua1 ua2 la1 na1 ha1 ua3"},
		{"overtake 2: what is lower does not count", "na1 la1 la2 la3 ua1 ua2 ua3", "ua1 ua2 la1 na1 ua3 la2 la3"},
		{"overtake 1: every other", "la1 la2 la3 ua1 ua2 ua3", "ua1 la1 ua2 la2 ua3 la3"},
		{"fair: senders in turn", "na1 na2 na3 nb1 nc1 nb2", "na1 nb1 nc1 na2 nb2 na3"},
		{"fair: within a class", "na1 na2 ua1 ua2 nb1 ub1", "ua1 ub1 ua2 na1 nb1 na2"},
	} {
		c := Config{Overtake: 100}
		fmt.Sscanf(row.name, "overtake %d", &c.Overtake)
		c.Fair = strings.HasPrefix(row.name, "fair")
		b := letterBox(t, c, row.in)
		if got := takeLetters(b); got != row.out {
			t.Errorf("%s: %s\n came out %s\n     want %s", row.name, row.in, got, row.out)
		}
		if put, err := b.Offer("na9"); err != nil || !put.Wake {
			t.Errorf("%s: it did not go idle: %+v, %v", row.name, put, err)
		}
	}
}

// What comes while the box is emptied has its turn at once.
func TestOrderIsDecidedLate(t *testing.T) {
	b := letterBox(t, Config{}, "la1 la2 la3")
	batch := b.Take(nil)
	if got := batch.Messages(); len(got) != 1 || got[0] != "la1" || batch.IsLast() {
		t.Fatalf("took %v, the last: %v", got, batch.IsLast())
	}
	b.Push("ua1")
	if batch = b.Take(batch); batch.Messages()[0] != "ua1" {
		t.Errorf("took %v", batch.Messages())
	}
}

func TestDefaultOvertake(t *testing.T) {
	b := letterBox(t, Config{}, "la1"+strings.Repeat(" ua1", 3*DefaultOvertake))
	if at := slices.Index(strings.Fields(takeLetters(b)), "la1"); at != DefaultOvertake {
		t.Errorf("%d have overtaken it", at)
	}
}

// A message with Last comes out behind what waits, of whatever class that is.
func TestOrderLast(t *testing.T) {
	for _, row := range []struct{ in, out string }{
		{"ua1 ua2 la1", "ua1 ua2 +a1 la1"}, {"ua1 la1 la2", "ua1 la1 la2 +a1"}, {"", "+a1"}, {"ua1 ua2 ub1 ub2 ub3", "ua1 ub1 ua2 ub2 +a1 ub3"},
	} {
		b := new(Box[letter])
		b.InitOrdered(&Config{Fair: true}, func(l *letter) Place {
			p := placeOfLetter(l)
			p.Last = (*l)[0] == '+'
			return p
		})
		for _, l := range strings.Fields(row.in + " +a1") {
			b.Push(letter(l))
		}
		if got := takeLetters(b); got != row.out {
			t.Errorf("%s: came out %s, want %s", row.in, got, row.out)
		}
	}
}

// What a put does that finds no place.
func TestOrderFull(t *testing.T) {
	for _, row := range []struct {
		config  Config
		in, put string
		dropped string // by Offer; "err" is ErrFull, "" nothing
		out     string // when that was the last one
	}{
		{Config{Capacity: 3, Policy: Refuse}, "na1 na2 na3", "ua1", "err", "na1 na2 na3"},
		{Config{Capacity: 3}, "na1 na2 na3", "ua1", "err", "na1 na2 na3"},
		{Config{Capacity: 3, Policy: DropNewest}, "na1 na2 na3", "ua1", "ua1", "na1 na2 na3"},
		{Config{Capacity: 3, Policy: DropOldest}, "na1 na2 na3", "ua1", "na1", "ua1 na2 na3"},
		{Config{Capacity: 3, Policy: DropOldest}, "ua1 la1 la2", "na1", "la1", "ua1 na1 la2"},
		{Config{Capacity: 3, Policy: DropOldest}, "ua1 ua2 na1", "la1", "la1", "ua1 ua2 na1"},
		{Config{Capacity: 3, Policy: DropOldest, Fair: true}, "na1 na2 nb1", "nb2", "na1", "na2 nb1 nb2"},
		{Config{Capacity: 5, Policy: Refuse, Fair: true, PerSender: 2}, "na1 na2 nb1", "na3", "err", "na1 nb1 na2"},
		{Config{Capacity: 5, Policy: Refuse, Fair: true, PerSender: 2}, "na1 na2 nb1", "nb2", "", "na1 nb1 na2 nb2"},
		{Config{Capacity: 5, Policy: Refuse, Fair: true, PerSender: 2}, "na1 na2 nb1", "ua1", "", "ua1 na1 nb1 na2"},
		{Config{Capacity: 5, Policy: DropNewest, Fair: true, PerSender: 2}, "na1 na2 nb1", "na3", "na3", "na1 nb1 na2"},
		{Config{Capacity: 5, Policy: DropOldest, Fair: true, PerSender: 2}, "nb1 na1 na2", "na3", "na1", "nb1 na2 na3"},
		{Config{Capacity: 1, Policy: DropOldest, Fair: true, PerSender: 1}, "na1", "na2", "na1", "na2"},
		{Config{Unbounded: true, Fair: true, PerSender: 1}, "na1 nb1", "na2", "err", "na1 nb1"},
	} {
		b := letterBox(t, row.config, row.in)
		put, err := b.Offer(letter(row.put))
		if got := string(put.Dropped); (row.dropped == "err") != (err == ErrFull) || err == nil && got != row.dropped || put.Wake || put.Own != (got == row.put) || put.HasDropped != (got != "") {
			t.Errorf("%+v, %s: %+v, %v", row.config, row.in, put, err)
		}
		if n := len(strings.Fields(row.out)); b.Len() != n {
			t.Errorf("%+v, %s: Len is %d, want %d", row.config, row.in, b.Len(), n)
		}
		if got := takeLetters(b); got != row.out {
			t.Errorf("%+v, %s: came out %s, want %s", row.config, row.in, got, row.out)
		}
	}
}

// A sender that sends without end does not keep others waiting, and takes up no more than its part.
func TestOneSenderOfMany(t *testing.T) {
	b := letterBox(t, Config{Capacity: 100, Policy: Refuse, Fair: true, PerSender: 60}, "")
	for i := range 100 {
		b.Offer(letter(fmt.Sprintf("na%d", i)))
	}
	if b.Len() != 60 {
		t.Fatalf("%d of one sender wait", b.Len())
	}
	for _, l := range []letter{"nb1", "nb2", "nc1"} {
		if _, err := b.Offer(l); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
	}
	if got := takeLetters(b); !strings.HasPrefix(got, "na0 nb1 nc1 na1 nb2 na2 na3 ") {
		t.Errorf("came out %.40s", got)
	}
}

// A closed box hands back all that it has, oldest first.
func TestOrderClose(t *testing.T) {
	b := letterBox(t, Config{Capacity: 4, Fair: true}, "la1 ua1 nb1 ua2")
	b.Enqueue("ua3")
	rest, busy := b.Close()
	if got := fmt.Sprint(rest); got != "[la1 ua1 nb1 ua2 ua3]" || !busy {
		t.Errorf("Close = %s, %v", got, busy)
	}
	for _, put := range []func(letter) (Put[letter], error){b.Offer, b.Enqueue, b.Displace} {
		if _, err := put("na1"); err != ErrClosed {
			t.Error(err)
		}
	}
	if _, ok := b.Push("na1"); ok || b.Len() != 0 || b.Take(nil) != nil {
		t.Error("there is something in a closed box")
	}
}

// A row does not get in as one: it has to be taken apart.
func TestOrderTakesNoRow(t *testing.T) {
	b := letterBox(t, Config{}, "")
	if wake, n := b.PushRow("na1", 2); wake || n != 0 {
		t.Errorf("%v, %d", wake, n)
	}
	if wake, n := b.PushAll([]letter{"na1", "ua1"}); !wake || n != 2 {
		t.Errorf("%v, %d", wake, n)
	}
	if got := takeLetters(b); got != "ua1 na1" {
		t.Errorf("came out %s", got)
	}
}

// A class that does not exist counts as the nearest one.
func TestOrderClassOutOfRange(t *testing.T) {
	b := new(Box[int])
	b.InitOrdered(nil, func(v *int) Place { return Place{Class: Class(*v)} })
	for _, v := range []int{-100, 0, 100, int(Urgent), int(Low)} {
		b.Push(v)
	}
	var got []int
	for batch := b.Take(nil); batch != nil; batch = b.Take(batch) {
		got = append(got, batch.Messages()...)
	}
	if want := []int{100, int(Urgent), 0, -100, int(Low)}; !slices.Equal(got, want) {
		t.Errorf("came out %v, want %v", got, want)
	}
	if Class(100).Valid() || Class(-100).Valid() || !Low.Valid() || !Urgent.Valid() || fmt.Sprint(Low, Normal, High, Urgent, Class(9)) != "low normal high urgent class(9)" {
		t.Error("the classes are not what they were")
	}
}

func TestOrderConfig(t *testing.T) {
	for _, row := range []struct {
		config Config
		wrong  string
	}{
		{Config{Overtake: -1}, "negative Overtake"}, {Config{Fair: true, PerSender: -1}, "negative PerSender"},
		{Config{PerSender: 1}, "without Fair"}, {Config{Overtake: 1, Fair: true, PerSender: 1}, ""},
	} {
		err := row.config.Validate()
		if (err == nil) != (row.wrong == "") || err != nil && !strings.Contains(err.Error(), row.wrong) {
			t.Errorf("%+v: %v", row.config, err)
		}
	}
}

// Lanes without messages are forgotten, and an idle box holds no message.
func TestOrderForgetsSenders(t *testing.T) {
	b := letterBox(t, Config{Capacity: 4, Policy: DropOldest, Fair: true}, "na1 ub1 nc1 nd1")
	b.Offer("ne1")
	b.Offer("lf1")
	takeLetters(b)
	for i := range b.order.classes {
		if k := &b.order.classes[i]; len(k.lanes) != 0 || k.turns.first != nil || k.hungry.first != nil || k.all.first != nil || k.count != 0 || k.passed != 0 {
			t.Errorf("%v: %+v", Class(i)+Low, k)
		}
	}
	if o := b.order; o.room != 4 || o.count != 0 || o.filled != 0 || o.backlog != 0 || o.blocked != 0 {
		t.Errorf("%+v", o)
	}
}
