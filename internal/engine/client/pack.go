package client

// pack compresses the body of r, if the Client compresses, the peer inflates, and it is worth while.
// That takes time, so it is done before a lock is taken, by the goroutine that sends r. The
// compressed form stays with r: each copy that goes out on a link whose peer inflates it is sent in
// that form, and each other one as it is. While there is no link it is not known what the peer
// inflates; then r is compressed all the same.
func (cl *Client) pack(r *Request) {
	if cl.cfg.Compression != nil && r.packed == nil {
		cl.packNow(r)
	}
}

// packNow is apart from pack, which most messages need not call.
func (cl *Client) packNow(r *Request) {
	p := cl.peer(r.Node)
	if k := p.live.Load(); k == nil && p.own || k != nil && !k.Packs {
		return
	}
	r.packed = cl.cfg.Compression.Pack(r.Codec, r.TypeID, r.Body)
}
