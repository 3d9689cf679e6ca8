package jetstream

import "time"

// SetPatience sets how long records must be missing before that is believed.
func (s *Store) SetPatience(after, behind time.Duration) { s.loss.after, s.loss.behind = after, behind }

// Saw makes the store believe that a message was stored under seq.
func (s *Store) Saw(seq uint64) { s.saw(seq) }

// Subject is where the messages of a key are.
var Subject = subject

// Unescape is the inverse of what Subject does with a text.
var Unescape = unescape
