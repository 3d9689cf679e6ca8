package ports_test

import (
	"errors"
	"net"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"github.com/tandem-go/tandem/test/ports"
)

func TestFree(t *testing.T) {
	const callers, each = 8, 25
	got := make(chan int, callers*each)
	for range callers {
		go func() {
			for range each {
				got <- ports.Free()
			}
		}()
	}
	all := map[int]bool{}
	for range callers * each {
		port := <-got
		if all[port] {
			t.Errorf("%d was given twice", port)
		}
		all[port] = true
	}
	runtime.GC()
	for port := range all {
		at := func(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
		for range 2 {
			l, err := net.Listen("tcp", at(port))
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
		}
		if _, err := net.Listen("tcp", at(port+1)); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("the mark of %d is gone: %v", port, err)
		}
		if port >= 32768 {
			t.Errorf("%d is one that the system may choose", port)
		}
	}
}
