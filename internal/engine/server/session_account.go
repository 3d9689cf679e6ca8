package server

// hold counts n bytes of a message, and reports whether there is room for them. s.mu is held.
func (s *session) hold(n int, large bool) bool {
	switch ahead := s.server.account.Ahead; {
	case large:
		return s.share.HoldLarge(n)
	case n <= s.spare:
		s.spare -= n
		return true
	case s.share.Ample() && s.share.Hold(n+ahead):
		s.spare += ahead
		return true
	}
	if !s.share.Hold(n - s.spare) {
		return false
	}
	s.spare = 0
	return true
}

// free stops counting n bytes. It keeps some of them reserved for later messages. s.mu is held.
func (s *session) free(n int) {
	if s.ended.Load() {
		s.share.Free(n)
		return
	}
	if s.spare += n; s.spare > 2*s.server.account.Ahead {
		s.share.Free(s.spare - s.server.account.Ahead)
		s.spare = s.server.account.Ahead
	}
}

// freeSpare frees the memory that a session without traffic has reserved ahead. s.mu is held.
func (s *session) freeSpare() {
	s.share.Free(s.spare)
	s.spare = 0
	if s.listed > uncountedSeqs && s.table.Trim() <= uncountedSeqs {
		s.share.Free(8 * (s.listed - uncountedSeqs))
		s.listed = uncountedSeqs
	}
}
