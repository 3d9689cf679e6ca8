package httpapi

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// What is read without the mux is what the mux reads.
func TestPlainPathIsThatOfTheMux(t *testing.T) {
	var seen *path
	mux := http.NewServeMux()
	note := func(_ http.ResponseWriter, r *http.Request) { at := pathOf(r); seen = &at }
	mux.HandleFunc("POST /{target}/{message}", note)
	mux.HandleFunc("POST /{target}/{id}/{message}", note)
	plain := 0
	for _, at := range []string{"/", "/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a//c", "//b", "/a/b/", "/a/../c", "/a/./c", "/./b", "/a/..", "/a/b%2Fd/c", "/a/b%20d/c", "/a/%2e%2e/c",
		"/a%2Fb/c", "/%2Fa/b", "/a/%C3%A4/c", "/a/b%25/c", "/a/b+d/c", "/a/b?c=d/e", "/a/b;c", "/a/b%3Fc/d", "/a/.../d", "/a/b/%2E"} {
		r := httptest.NewRequest("POST", at, nil)
		got, ok := plainPath(r)
		if !ok {
			continue
		}
		plain++
		seen = nil
		mux.ServeHTTP(httptest.NewRecorder(), r)
		if seen == nil || *seen != got {
			t.Errorf("%s is %+v, and to the mux %+v", at, got, seen)
		}
	}
	if plain < 6 {
		t.Errorf("%d paths were read without the mux", plain)
	}
	for _, r := range []*http.Request{httptest.NewRequest("GET", "/a/b", nil), httptest.NewRequest("POST", "/-/docs", nil), httptest.NewRequest("OPTIONS", "*", nil)} {
		if at, ok := plainPath(r); ok {
			t.Errorf("%s %s was read as %+v", r.Method, r.URL, at)
		}
	}
}
