package checkout

// Write is one change of a commit: all writes of a commit happen, or none.
// Keys are dot-separated words of [A-Za-z0-9_-], e.g. "session.cs_abc".
type Write struct {
	Key   string
	Value []byte

	// Expect is the version the key must have: 0 = it must not exist. A mismatch is
	// ErrConflict for the whole commit. Any skips the check.
	Expect uint64
	Any    bool
	// At, when not 0, makes the write a timer: at that Unix second Value is handed to
	// the timers' consumer once; a later write to the same key moves it.
	At int64
	// TTL in seconds, 0 = as long as the store keeps anything.
	TTL int64
}

// Entry is a stored value: Version is what Write.Expect compares with.
type Entry struct {
	Key     string
	Value   []byte
	Version uint64
}
