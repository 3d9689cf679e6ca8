package rpc

import (
	"sync"

	"github.com/tandem-go/tandem/internal/promise"
)

// All returns a future of all results, in the order of fs. As soon as one of fs fails,
// that future fails with the same error, and the others are cancelled.
func All[R any](fs ...*Future[R]) *Future[[]R] {
	values := make([]R, len(fs))
	left := len(fs)
	var mu sync.Mutex // guards values and left
	return combine(fs, func(p *promise.Promise[[]R], i int, v R, err error) bool {
		if err != nil {
			return p.Resolve(nil, err)
		}
		mu.Lock()
		values[i] = v
		left--
		last := left == 0
		mu.Unlock()
		return last && p.Resolve(values, nil)
	}, func(p *promise.Promise[[]R]) { p.Resolve(values, nil) })
}

// Any returns a future of the first result that is not an error, and cancels the others
// once that is there. If all fail, it fails with the last error.
func Any[R any](fs ...*Future[R]) *Future[R] {
	left := len(fs)
	var mu sync.Mutex // guards left
	return combine(fs, func(p *promise.Promise[R], _ int, v R, err error) bool {
		mu.Lock()
		left--
		last := left == 0
		mu.Unlock()
		return (err == nil || last) && p.Resolve(v, err)
	}, ofNone[R]("Any"))
}

// Race returns a future of the first result, an error or not, and cancels the others.
func Race[R any](fs ...*Future[R]) *Future[R] {
	return combine(fs, func(p *promise.Promise[R], _ int, v R, err error) bool { return p.Resolve(v, err) }, ofNone[R]("Race"))
}

func ofNone[R any](what string) func(*promise.Promise[R]) {
	return func(p *promise.Promise[R]) {
		var none R
		p.Resolve(none, Errorf(Invalid, NotRun, "%s of no futures", what))
	}
}

// combine calls take with each result as it comes, until take reports that it has decided
// the promise; then combine cancels what is left. To cancel the combined future cancels
// all.
func combine[R, S any](fs []*Future[R], take func(p *promise.Promise[S], i int, v R, err error) bool, none func(*promise.Promise[S])) *Future[S] {
	p := new(promise.Promise[S])
	if len(fs) == 0 {
		none(p)
	}
	p.Of(group[R](fs))
	for i, f := range fs {
		f.Then(func(v R, err error) {
			if take(p, i, v, err) {
				group[R](fs).Cancel()
			}
		})
	}
	return (*Future[S])(p)
}

// group is several futures that are cancelled together.
type group[R any] []*Future[R]

func (g group[R]) Cancel() {
	for _, f := range g {
		f.Cancel()
	}
}
