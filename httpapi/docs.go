package httpapi

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strings"
)

// docsPage is the page to try what is open.
//
//go:embed docs.html
var docsPage []byte

// serveDocs serves the page. It shows what actors and their authors have written, so a browser is told to run the page's own
// script only, and to connect to nobody but the handler's host.
func serveDocs() http.HandlerFunc {
	page := serve("text/html; charset=utf-8", docsPage)
	policy := strings.Join([]string{"default-src 'none'", "script-src " + sourceOf("script"), "style-src " + sourceOf("style"),
		"connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"}, "; ")
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Referrer-Policy", "no-referrer")
		page(w, r)
	}
}

// sourceOf is the source expression (Content Security Policy Level 3, §2.3.1) of the page's only element with that tag.
func sourceOf(tag string) string {
	_, rest, _ := strings.Cut(string(docsPage), "<"+tag+">")
	text, _, _ := strings.Cut(rest, "</"+tag+">")
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
