package embedded

import (
	"errors"
	"fmt"
	"log/slog"
)

// logger passes what the server logs to slog. The server calls it concurrently, and with its own
// locks held.
type logger struct {
	log   *slog.Logger
	fatal chan error // holds the first fatal error, after which the server goes on
}

func newLogger(l *slog.Logger) *logger {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return &logger{log: l, fatal: make(chan error, 1)}
}

// Fatalf keeps the error for Start. The server only logs it, and then is neither ready nor
// stopped.
func (l *logger) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.log.Error(text)
	select {
	case l.fatal <- errors.New(text):
	default:
	}
}

func (l *logger) Errorf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l *logger) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l *logger) Noticef(format string, v ...any) { l.log.Info(fmt.Sprintf(format, v...)) }
func (l *logger) Debugf(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *logger) Tracef(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
