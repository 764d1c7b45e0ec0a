package webhook

// Hold makes the service keep at most n events in memory.
func Hold(s *Service, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = n
}

// Held is how many events the service keeps in memory.
func Held(s *Service) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue.items)
}

// NameOf gives the session and the number in an event's id.
func NameOf(id string) (session string, n int, ok bool) {
	e, ok := parseID(id)
	return e.session, e.n, ok
}

// IDOf gives the id of the event that key names.
func IDOf(key string) (string, bool) {
	e, ok := parseKey("event.", key)
	return e.id(), ok
}
