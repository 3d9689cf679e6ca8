package dedup

import "testing"

// BenchmarkSequential is one request's whole life in the table: Admit, Start,
// Decide, Ack; BenchmarkBesideOneSlow the same with one request that never ends,
// and BenchmarkBesideStragglers with a window full of them but one place.
func BenchmarkSequential(b *testing.B) { benchmarkQuick(b, 0) }

func BenchmarkBesideOneSlow(b *testing.B) { benchmarkQuick(b, 1) }

func BenchmarkBesideStragglers(b *testing.B) { benchmarkQuick(b, DefaultWindow-1) }

func benchmarkQuick(b *testing.B, slow uint64) {
	b.ReportAllocs()
	table := New[int](0)
	var except []uint64
	for seq := uint64(1); seq <= slow; seq++ {
		table.Admit(seq, seq)
		table.Start(seq)
		except = append(except, seq)
	}
	seq := slow
	for b.Loop() {
		seq++
		m := Mark{Below: seq + 1, Except: except}
		if slow > 1 { // given up singly: a mark with that many exceptions comes rarely
			m = Mark{}
		}
		quick(b, table, seq, m)
		if slow > 1 {
			table.GiveUp(seq)
			if seq%1024 == 0 {
				table.Ack(Mark{Below: seq + 1, Except: except}, nil)
			}
		}
	}
}

// BenchmarkWindow keeps 512 requests under way.
func BenchmarkWindow(b *testing.B) {
	b.ReportAllocs()
	const under = 512
	table, seq := New[int](0), uint64(0)
	for b.Loop() {
		seq++
		table.Admit(seq, seq)
		table.Start(seq)
		if seq > under {
			table.Decide(seq - under)
			table.Ack(Mark{Below: seq - under + 1}, nil)
		}
	}
}
