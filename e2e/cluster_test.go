package e2e_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// soak is how long the cluster is beaten; the short time belongs to the tests.
func soak(t *testing.T) time.Duration {
	text := os.Getenv("CHECKOUT_SOAK")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("CHECKOUT_SOAK: %v", err)
	}
	return d
}

// older is a bff of another version, in whose place the present one comes while it works
// and that comes back, "" = the same program again. It is told by $CHECKOUT_OLD.
func older(t *testing.T) string {
	path := os.Getenv("CHECKOUT_OLD")
	if path == "" {
		return ""
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("CHECKOUT_OLD: %v", err)
	}
	return path
}

// threeReplicas starts a cluster from nothing but the contract's settings.
func threeReplicas(t *testing.T) *fleet {
	t.Helper()
	f := newFleet(t)
	for i := range 3 {
		f.add("r" + strconv.Itoa(i))
	}
	f.join()
	for _, r := range f.replicas {
		r.start()
	}
	t.Logf("three replicas ready after %s", said(f.awaitReady(f.replicas...)))
	return f
}

// A session opened on one replica is paid through another, its callback arrives at a
// third, the pages on all three turn, and the shop hears once.
func TestClusterIsOne(t *testing.T) {
	t.Parallel()
	f := threeReplicas(t)
	base := func(i int) string { return "http://" + f.replicas[i%3].public }
	for round := range 3 {
		reference := "one-" + strconv.Itoa(round)
		p, err := openSession(t.Context(), "http://"+f.replicas[round].private, reference)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		var viewers []*viewer
		seen := make(chan error, 3)
		for i := range 3 {
			v := &viewer{}
			viewers = append(viewers, v)
			go func() { seen <- v.follow(ctx, base(i), f.front.URL, p.token) }()
		}
		if err := pay(ctx, base(round+1), &p); err != nil {
			t.Fatal(err)
		}
		f.front.mu.Lock()
		f.front.callbacks = f.replicas[(round+2)%3]
		f.front.mu.Unlock()
		if _, err := f.psp.Pay(p.invoice); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := <-seen; err != nil {
				t.Fatalf("a page of %s: %v", reference, err)
			}
		}
		for i, v := range viewers {
			if v.status != "paid" || v.twice != 0 || v.sockets != 1 {
				t.Errorf("page at replica %d of %s: %v, %d revisions again, %d sockets; want paid, 0, 1", i, reference, v.statuses, v.twice, v.sockets)
			}
		}
		for end := time.Now().Add(time.Minute); !slices.Contains(f.shop.of(p.id), "session.paid"); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the shop heard %v of %s", f.shop.of(p.id), reference)
			}
		}
	}
	if n := f.shop.twice(); n != 0 {
		t.Errorf("%d webhooks came more than once, and nothing had failed", n)
	}
}

// Replicas die and come back under load.
func TestClusterSurvives(t *testing.T) {
	t.Parallel()
	f := threeReplicas(t)
	l := f.startLoad(4, "survive-")
	l.await(time.Now())
	old := older(t)
	gaps := map[string][]time.Duration{}
	restart := func(name string, r *replica, end func()) {
		t.Helper()
		at := time.Now()
		end()
		l.await(at)
		gap := l.refused(at)
		r.start()
		took := f.awaitReady(r)
		gaps[name] = append(gaps[name], gap)
		t.Logf("%s, %s: no callback was taken for %s; ready %s after its start", name, r.name, said(gap), said(took))
	}
	until := time.Now().Add(soak(t))
	for round := 0; round == 0 || time.Now().Before(until); round++ {
		leader := f.leader()
		restart("leader killed", leader, leader.kill)
		leader = f.leader()
		for _, r := range f.replicas {
			if r != leader {
				restart("follower killed", r, r.kill)
				break
			}
		}
		at := time.Now()
		for _, r := range f.replicas {
			r.ready.Store(false) // as an operator who drains it first
			r.stop()
			if old != "" && r.bff == f.bff {
				r.bff = old
			} else {
				r.bff = f.bff
			}
			r.start()
			f.awaitReady(r)
		}
		l.await(at)
		gap := l.refused(at)
		gaps["rolling upgrade"] = append(gaps["rolling upgrade"], gap)
		t.Logf("rolling upgrade to %s: %s, no callback was taken for %s", filepath.Base(f.replicas[0].bff), said(time.Since(at)), said(gap))

		at = time.Now()
		for _, r := range f.replicas {
			r.kill()
		}
		for _, r := range f.replicas {
			r.start()
		}
		took := f.awaitReady(f.replicas...)
		l.await(at)
		gap = l.refused(at)
		gaps["all killed at once"] = append(gaps["all killed at once"], gap)
		t.Logf("all killed at once: ready after %s, no callback was taken for %s", said(took), said(gap))
	}
	l.end()
	summed(t, gaps)
}

// summed tells how often each thing happened, and how long no callback was taken.
func summed(t *testing.T, gaps map[string][]time.Duration) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(gaps)) {
		list := slices.Sorted(slices.Values(gaps[name]))
		t.Logf("%s, %d times: no callback was taken for %s (median), %s (at the most)", name, len(list), said(list[len(list)/2]), said(list[len(list)-1]))
	}
}
