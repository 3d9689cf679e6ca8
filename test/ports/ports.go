// Package ports gives tests TCP ports on which they can listen at once, later, and again after a stop.
//
// A port that the system has chosen, and that nobody listens on for a moment, may go to any connection
// of any program in that moment. So these are below those that systems choose from (RFC 6335 section 6
// has them from 49152 up, Linux from 32768). And so that no other test takes one, its neighbour is
// listened on until the process ends.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports come in pairs: an even one for the caller, and the odd one after it, which says that it is taken.
const first, pairs = 10000, 10000

var (
	mu   sync.Mutex
	held []net.Listener // the marks: a listener that nobody refers to would be closed
)

// Free returns a port of the loopback interface that belongs to the caller until the process ends. It
// panics if there is none. It may be called concurrently.
func Free() int {
	var err error
	for at, n := rand.IntN(pairs), 0; n < pairs; n++ {
		port := first + 2*((at+n)%pairs)
		var mark, l net.Listener
		if mark, err = listen(port + 1); err != nil {
			continue
		}
		if l, err = listen(port); err != nil {
			mark.Close()
			continue
		}
		l.Close()
		mu.Lock()
		held = append(held, mark)
		mu.Unlock()
		return port
	}
	panic(fmt.Sprintf("ports: none is free: %v", err))
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}
