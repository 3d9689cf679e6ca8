// Package observer is a page about a cluster, for whoever is on call: nodes and the roads between them, services, actors, queues,
// jobs, dead letters, events and settings, live. It is an http.Handler, to be mounted where the program likes:
//
//	page, err := observer.New(admin.Of(sys), observer.Config{Token: os.Getenv("OBSERVER_TOKEN")})
//	mux.Handle("/observer/", http.StripPrefix("/observer", page))
//
// It reads from the admin actors of all nodes (package admin), so one page, on any node or on none, shows the whole cluster. The
// nodes have to let it read: admin.Config.Read names the principal of the node that the page is on, or the user that it asks as.
//
// # Who may
//
// Nobody without a token, unless Config.Who or Config.Everybody says otherwise. Whoever gives Token may see; whoever gives OperatorToken
// may also change things, as far as the nodes let the page. Tokens are given once, for a cookie that other pages cannot use and scripts cannot read.
// The page runs no script but its own, whatever the names of actors and the texts of errors are.
//
// # What it costs
//
// Nothing while nobody looks. Otherwise each node is asked twice a tick, however many look: a tick is a second, and for more than
// 32 nodes two.
package observer

import (
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/tandem-go/tandem/admin"
)

// MinToken is how many bytes a token has at least.
const MinToken = 16

// Config says who may look. One of Token, OperatorToken, Who and Everybody has to be set.
type Config struct {
	Token         string // who gives it may see
	OperatorToken string // who gives it may see and change
	Everybody     bool   // who can reach the handler may see: for a handler on loopback, or behind a proxy that asks

	// Who says what somebody may, in place of tokens; false: nothing. It is called concurrently.
	Who func(*http.Request) (admin.Right, bool)

	Tick   time.Duration // between two looks at the cluster; default 1 s, and 2 s for more than 32 nodes
	Logger *slog.Logger  // default slog.Default()
}

//go:embed web
var web embed.FS

// Handler is the page. It may be used concurrently.
type Handler struct {
	cluster *admin.Cluster
	cfg     Config
	logins  logins
	live    live
	mux     *http.ServeMux
	own     http.Handler // mux, for requests of the page's own origin only
}

// New returns the page about a cluster. The error says what is wrong with cfg.
func New(cluster *admin.Cluster, cfg Config) (*Handler, error) {
	switch {
	case cluster == nil:
		return nil, errors.New("observer: no cluster")
	case cfg.Token == "" && cfg.OperatorToken == "" && cfg.Who == nil && !cfg.Everybody:
		return nil, errors.New("observer: nobody may look: set Token, OperatorToken, Who or Everybody")
	case cfg.Token != "" && len(cfg.Token) < MinToken || cfg.OperatorToken != "" && len(cfg.OperatorToken) < MinToken:
		return nil, errors.New("observer: a token of less than 16 bytes can be guessed")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	h := &Handler{cluster: cluster, cfg: cfg, mux: http.NewServeMux()}
	h.logins.init(cfg)
	h.live.init(cluster, cfg)
	files, err := fs.Sub(web, "web")
	if err != nil {
		return nil, err
	}
	h.mux.Handle("GET /", http.FileServerFS(files))
	h.mux.HandleFunc("POST /login", h.logins.login)
	h.mux.HandleFunc("POST /logout", h.logins.logout)
	h.mux.HandleFunc("GET /me", h.me)
	h.mux.HandleFunc("GET /live", h.allowed(admin.ToRead, h.live.serve))
	h.mux.HandleFunc("POST /ask/{message}", h.ask)
	h.mux.HandleFunc("POST /all/{message}", h.all)
	h.own = http.NewCrossOriginProtection().Handler(h.mux)
	return h, nil
}

// The headers of every answer: no script, style or connection but those of the page itself, in no frame, and nothing is stored.
var headers = map[string]string{
	"Content-Security-Policy":      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
	"X-Content-Type-Options":       "nosniff",
	"Referrer-Policy":              "no-referrer",
	"Cache-Control":                "no-store",
	"Cross-Origin-Resource-Policy": "same-origin",
}

// ServeHTTP implements http.Handler. Its paths are relative to where it is mounted.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range headers {
		w.Header().Set(name, value)
	}
	h.own.ServeHTTP(w, r)
}

// Close ends the live pages, so that an http.Server can shut down; it waits until nobody looks at the cluster. It may be called several times.
func (h *Handler) Close() { h.live.close() }

// may returns what somebody may; false: nothing.
func (h *Handler) may(r *http.Request) (admin.Right, bool) {
	if h.cfg.Who != nil {
		return h.cfg.Who(r)
	}
	if right, ok := h.logins.of(r); ok {
		return right, true
	}
	return admin.ToRead, h.cfg.Everybody
}

// allowed lets those in who have a right.
func (h *Handler) allowed(right admin.Right, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch has, ok := h.may(r); {
		case !ok:
			refuse(w, http.StatusUnauthorized, "log in first")
		case has < right:
			refuse(w, http.StatusForbidden, "to change something takes the operator's token")
		default:
			next(w, r)
		}
	}
}

// me says what the client may.
func (h *Handler) me(w http.ResponseWriter, r *http.Request) {
	right, ok := h.may(r)
	send(w, map[string]any{"in": ok, "operate": ok && right == admin.ToOperate, "tokens": h.cfg.Who == nil})
}

// problem is the body of an answer that is an error.
type problem struct {
	Code  string `json:"code,omitempty"`
	Ran   string `json:"ran,omitempty"`
	Error string `json:"error"`
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{Error: text})
}

func send(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
