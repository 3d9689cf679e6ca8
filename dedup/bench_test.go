package dedup

import "testing"

// BenchmarkSequential is one request's whole life in the table: Admit, Start, Finish, Ack.
// BenchmarkBesideOneSlow is the same beside one request that never ends.
// BenchmarkBesideStragglers is the same beside so many of them that the window has only one
// place left.
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
		if slow > 1 { // acked by GiveUp: a mark with that many exceptions comes rarely
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

// BenchmarkWindow keeps 512 requests outstanding.
func BenchmarkWindow(b *testing.B) {
	b.ReportAllocs()
	const outstanding = 512
	table, seq := New[int](0), uint64(0)
	for b.Loop() {
		seq++
		table.Admit(seq, seq)
		table.Start(seq)
		if seq > outstanding {
			table.Finish(seq - outstanding)
			table.Ack(Mark{Below: seq - outstanding + 1}, nil)
		}
	}
}
