package rpc

import "sync"

// All returns a future of all results, in the order of fs. As soon as one of them fails
// it fails with that one's error, and cancels the others.
func All[R any](fs ...*Future[R]) *Future[[]R] {
	values := make([]R, len(fs))
	left := len(fs)
	var mu sync.Mutex // guards values and left
	return combine(fs, func(p *Promise[[]R], i int, v R, err error) bool {
		if err != nil {
			return p.Resolve(nil, err)
		}
		mu.Lock()
		values[i] = v
		left--
		last := left == 0
		mu.Unlock()
		return last && p.Resolve(values, nil)
	}, func(p *Promise[[]R]) { p.Resolve(values, nil) })
}

// Any returns a future of the first result that is not an error, and cancels the
// others once it is there. It fails with the last error once all have failed.
func Any[R any](fs ...*Future[R]) *Future[R] {
	left := len(fs)
	var mu sync.Mutex // guards left
	return combine(fs, func(p *Promise[R], _ int, v R, err error) bool {
		mu.Lock()
		left--
		last := left == 0
		mu.Unlock()
		return (err == nil || last) && p.Resolve(v, err)
	}, ofNone[R]("Any"))
}

// Race returns a future of the first result, an error or not, and cancels the others.
func Race[R any](fs ...*Future[R]) *Future[R] {
	return combine(fs, func(p *Promise[R], _ int, v R, err error) bool { return p.Resolve(v, err) }, ofNone[R]("Race"))
}

func ofNone[R any](what string) func(*Promise[R]) {
	return func(p *Promise[R]) {
		var none R
		p.Resolve(none, Errorf(Invalid, NotRun, "%s of no futures", what))
	}
}

// combine calls take with each result as it comes, until it reports that it has decided
// the promise; then it cancels what is left. Cancelling the combined future cancels all.
func combine[R, S any](fs []*Future[R], take func(p *Promise[S], i int, v R, err error) bool, none func(*Promise[S])) *Future[S] {
	p := NewPromise[S](nil)
	if len(fs) == 0 {
		none(p)
	}
	p.Of(group[R](fs))
	for i, f := range fs {
		f.Then(func(v R, err error) {
			if take(p, i, v, err) {
				group[R](fs).GiveUp(Canceled, "")
			}
		})
	}
	return p.Future()
}

// group gives several futures up.
type group[R any] []*Future[R]

func (g group[R]) GiveUp(Code, string) {
	for _, f := range g {
		f.Cancel()
	}
}
