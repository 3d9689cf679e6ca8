package longcopy_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tandem-go/tandem/internal/longcopy"
)

func TestCopies(t *testing.T) {
	for _, n := range []int{0, 1, longcopy.Piece - 1, longcopy.Piece, longcopy.Piece + 1, 3*longcopy.Piece + 7} {
		text := strings.Repeat("abcdefg", n/7+1)[:n]
		v := []byte(text)
		for _, room := range []int{0, 3, n + 3} {
			b := append(make([]byte, 0, room), "b"...)
			if got := longcopy.Append(b, v); string(got) != "b"+text {
				t.Errorf("Append of %d bytes into room for %d: %d came", n, room, len(got))
			}
			if got := longcopy.Append(b, text); string(got) != "b"+text {
				t.Errorf("Append of a string of %d bytes into room for %d: %d came", n, room, len(got))
			}
			if got := longcopy.Into(b, v); got == nil || string(got) != text {
				t.Errorf("Into of %d bytes: %d came", n, len(got))
			}
		}
		if got := longcopy.Into(nil, v); got == nil || !bytes.Equal(got, v) {
			t.Errorf("Into of %d bytes into nil: %d came", n, len(got))
		}
		if got := longcopy.Clone(v); got == nil || !bytes.Equal(got, v) {
			t.Errorf("Clone of %d bytes: %d came", n, len(got))
		}
		got := longcopy.String(v)
		if clear(v); got != text {
			t.Errorf("String of %d bytes: %d came, or it is no copy", n, len(got))
		}
		if room := longcopy.Make(n); room == nil || len(room) != 0 || cap(room) < n {
			t.Errorf("Make(%d) has length %d and room for %d", n, len(room), cap(room))
		}
	}
}
