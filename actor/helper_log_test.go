package actor

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing/synctest"
)

// LineLog is a slog.Handler that keeps the lines of a log, each with its level, message and
// attributes. It is for tests in a bubble.
type LineLog struct {
	mu    sync.Mutex // guards what follows
	lines []string
}

func (l *LineLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *LineLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *LineLog) WithGroup(string) slog.Handler            { return l }

func (l *LineLog) Handle(_ context.Context, r slog.Record) error {
	line := fmt.Sprintf("%v %s", r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// About waits until the bubble is idle, and returns the lines that contain all parts.
func (l *LineLog) About(parts ...string) (found []string) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for _, line := range l.lines {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}
