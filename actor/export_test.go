package actor

// UnderWay is how many requests, and streams, the picker of a service takes to be at its
// instances, and how many instances there are.
func UnderWay(s *System, name string) (n, instances int) {
	v := s.services.of(name)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.picker.All() {
		n += c.UnderWay()
	}
	return n, v.picker.Len()
}
