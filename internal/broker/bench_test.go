package broker_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"wzrdcheckout/internal/broker"
	"wzrdcheckout/internal/checkout"
)

// BenchmarkCommit stores a session with its event and its timer, from many callers.
func BenchmarkCommit(b *testing.B) {
	for _, callers := range []int{1, 8, 64, 256} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			s, err := broker.Open(b.Context(), broker.Config{Dir: b.TempDir(), MinFreeBytes: 1})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close(b.Context()) }()
			value := make([]byte, 1500)
			var n atomic.Int64
			b.ReportAllocs()
			for b.Loop() {
				// One operation is one commit of each caller.
				done := make(chan error, callers)
				for range callers {
					go func() {
						id := strconv.FormatInt(n.Add(1), 10)
						_, err := s.Commit(b.Context(), put("session."+id, string(value), 0), put("event."+id, "e", 0),
							checkout.Write{Key: "timer." + id, Value: []byte("t"), Any: true, At: 4_000_000_000})
						done <- err
					}()
				}
				for range callers {
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "commits/s")
			b.ReportMetric(float64(s.Stats().Commits)/float64(s.Stats().Groups), "commits/group")
		})
	}
}

// BenchmarkGet reads a session from the cache.
func BenchmarkGet(b *testing.B) {
	s, err := broker.Open(b.Context(), broker.Config{Dir: b.TempDir(), MinFreeBytes: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close(b.Context()) }()
	for i := range 100 {
		if _, err := s.Commit(b.Context(), put(fmt.Sprintf("session.%d", i), "value", 0)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Get(b.Context(), "session.7"); err != nil {
			b.Fatal(err)
		}
	}
}
