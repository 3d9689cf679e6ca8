package observer

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tandem-go/tandem/admin"
)

// Limits of logins.
const (
	cookie    = "tandem_observer"
	loginLife = 12 * time.Hour
	maxLogins = 256 // who have logged in at a time; the oldest has to do it again
	guesses   = 5   // wrong tokens a second, of all clients together
)

// logins are those who have given a token.
type logins struct {
	tokens map[[32]byte]admin.Right // hashes of the tokens
	wrong  *rate.Limiter

	mu  sync.Mutex // guards all
	all map[[32]byte]login
}

// login is one cookie, under the hash of its value.
type login struct {
	right admin.Right
	until time.Time
}

func (l *logins) init(cfg Config) {
	l.tokens, l.all, l.wrong = map[[32]byte]admin.Right{}, map[[32]byte]login{}, rate.NewLimiter(guesses, guesses)
	if cfg.Token != "" {
		l.tokens[sha256.Sum256([]byte(cfg.Token))] = admin.ToRead
	}
	if cfg.OperatorToken != "" {
		l.tokens[sha256.Sum256([]byte(cfg.OperatorToken))] = admin.ToOperate
	}
}

// of returns what the client may by its cookie.
func (l *logins) of(r *http.Request) (admin.Right, bool) {
	c, err := r.Cookie(cookie)
	if err != nil {
		return 0, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	in, ok := l.all[sha256.Sum256([]byte(c.Value))]
	return in.right, ok && time.Now().Before(in.until)
}

// login gives a cookie for a token.
func (l *logins) login(w http.ResponseWriter, r *http.Request) {
	var body struct{ Token string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, `want {"Token": "..."}`)
		return
	}
	given := sha256.Sum256([]byte(body.Token))
	right, ok := admin.ToRead, false
	for token, its := range l.tokens { // all of them, so that the time says nothing
		if subtle.ConstantTimeCompare(token[:], given[:]) == 1 {
			right, ok = its, true
		}
	}
	if !ok {
		if !l.wrong.Allow() {
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusTooManyRequests, "too many wrong tokens, try again in a second")
			return
		}
		refuse(w, http.StatusUnauthorized, "that is not the token")
		return
	}
	value := rand.Text()
	l.mu.Lock()
	l.add(sha256.Sum256([]byte(value)), login{right, time.Now().Add(loginLife)})
	l.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: value, Path: "/", MaxAge: int(loginLife.Seconds()), HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
	send(w, map[string]any{"in": true, "operate": right == admin.ToOperate, "tokens": true})
}

// add adds a login; the mutex is held.
func (l *logins) add(id [32]byte, in login) {
	for len(l.all) >= maxLogins {
		var oldest [32]byte
		first := true
		for other, o := range l.all {
			if first || o.until.Before(l.all[oldest].until) {
				oldest, first = other, false
			}
		}
		delete(l.all, oldest)
	}
	l.all[id] = in
}

func (l *logins) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookie); err == nil {
		l.mu.Lock()
		delete(l.all, sha256.Sum256([]byte(c.Value)))
		l.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: cookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
	w.WriteHeader(http.StatusNoContent)
}
