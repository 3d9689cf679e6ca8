package engine

import (
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/host"
	"github.com/tandem-go/tandem/transport"
)

// holding counts the bytes that a link holds for its peer. It is the link's transport.Holder.
// Its methods may be called concurrently.
type holding struct {
	host    *host.Host
	share   *account.Share
	held    atomic.Int64 // bytes that the link holds for the peer
	closed  atomic.Bool  // the link is closed
	parts   atomic.Int64 // number of large messages that have come only in part
	partsAt atomic.Int64 // node clock at the last heartbeat before the latest part came
}

// stalled reports whether a large message has come only in part, and no further part came for
// too long.
func (h *holding) stalled() bool {
	return h.parts.Load() > 0 && h.host.Now()-time.Duration(h.partsAt.Load()) > transport.PartPatience
}

// Hold, Force, Free and Part are the methods of transport.Holder.
func (h *holding) Hold(n int) bool {
	if h.closed.Load() || !h.share.HoldLarge(n) {
		return false
	}
	h.counted(n)
	return true
}

func (h *holding) Force(n int) {
	if !h.closed.Load() {
		h.share.Force(n)
		h.counted(n)
	}
}

// counted adds n bytes that the share has counted. If the link was closed meanwhile, release
// may have missed them, so they are freed here.
func (h *holding) counted(n int) {
	h.held.Add(int64(n))
	if h.closed.Load() {
		h.release()
	}
}

// release frees what the link holds, and makes sure that it holds nothing more.
func (h *holding) release() {
	h.closed.Store(true)
	h.share.Free(int(h.held.Swap(0)))
}

func (h *holding) Free(n int) {
	for {
		held := h.held.Load()
		n := min(int64(n), held) // less, if the link was closed meanwhile
		if h.held.CompareAndSwap(held, held-n) {
			h.share.Free(int(n))
			return
		}
	}
}

func (h *holding) Part(open int) time.Duration {
	at := h.host.Ticked()
	h.partsAt.Store(int64(at))
	h.parts.Store(int64(open))
	return at
}
