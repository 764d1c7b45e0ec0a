package broker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wzrdcheckout/internal/broker"
	"wzrdcheckout/internal/checkout"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("BROKER_TEST_CHILD"); dir != "" {
		child(dir)
		return
	}
	if conf := os.Getenv("BROKER_TEST_NODE"); conf != "" {
		node(conf)
		return
	}
	os.Exit(m.Run())
}

func open(t *testing.T, dir string) *broker.Broker {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Config{Dir: dir, MinFreeBytes: 1})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

func closeBroker(t *testing.T, b *broker.Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Errorf("Close = %v", err)
	}
}

func put(key, value string, expect uint64) checkout.Write {
	return checkout.Write{Key: key, Value: []byte(value), Expect: expect}
}

func must(t *testing.T, b *broker.Broker, writes ...checkout.Write) []uint64 {
	t.Helper()
	v, err := b.Commit(t.Context(), writes...)
	if err != nil {
		t.Fatalf("Commit(%v) = %v", keys(writes), err)
	}
	return v
}

func keys(writes []checkout.Write) []string {
	var list []string
	for _, w := range writes {
		list = append(list, w.Key)
	}
	return list
}

func want(t *testing.T, b *broker.Broker, key, value string) checkout.Entry {
	t.Helper()
	e, err := b.Fresh(t.Context(), key)
	if err != nil || string(e.Value) != value {
		t.Errorf("Fresh(%s) = %q, %v, want %q", key, e.Value, err, value)
	}
	g, err := b.Get(t.Context(), key)
	if err != nil || string(g.Value) != value || g.Version != e.Version {
		t.Errorf("Get(%s) = %q version %d, %v, want %q version %d", key, g.Value, g.Version, err, value, e.Version)
	}
	return e
}

func TestConfig(t *testing.T) {
	t.Parallel()
	clustered := func(change func(*broker.Config)) broker.Config {
		c := broker.Config{Dir: "x", ClusterListen: "127.0.0.1:1", ClusterPeers: []string{"a:1", "b:1"}, ClusterSecret: clusterSecret}
		change(&c)
		return c
	}
	for _, tt := range []struct {
		name  string
		cfg   broker.Config
		field string
	}{
		{"nothing", broker.Config{}, "Dir"},
		{"replicas without external", broker.Config{Dir: "x", Replicas: 3}, "Replicas"},
		{"two replicas", broker.Config{NATSURL: "nats://x", Replicas: 2}, "Replicas"},
		{"external and cluster", broker.Config{NATSURL: "nats://x", ClusterPeers: []string{"a:1"}}, "NATSURL"},
		{"creds without external", broker.Config{Dir: "x", NATSCreds: "f"}, "NATSURL"},
		{"certificate without key", broker.Config{NATSURL: "nats://x", NATSCert: "f"}, "NATSCert"},
		{"missing creds file", broker.Config{NATSURL: "nats://x", NATSCreds: "/does/not/exist"}, "NATSCreds"},
		{"no listen", clustered(func(c *broker.Config) { c.ClusterListen = "" }), "ClusterListen"},
		{"one peer", clustered(func(c *broker.Config) { c.ClusterPeers = c.ClusterPeers[:1] }), "ClusterPeers"},
		{"peer without port", clustered(func(c *broker.Config) { c.ClusterPeers = []string{"a", "b:1"} }), "ClusterPeers"},
		{"no secret", clustered(func(c *broker.Config) { c.ClusterSecret = "" }), "ClusterSecret"},
		{"short secret", clustered(func(c *broker.Config) { c.ClusterSecret = "0123456789" }), "ClusterSecret"},
		{"advertised without a port", clustered(func(c *broker.Config) { c.ClusterAdvertise = "host" }), "ClusterAdvertise"},
		{"half TLS", clustered(func(c *broker.Config) { c.ClusterCert = "f" }), "ClusterCert"},
		{"negative retention", broker.Config{Dir: "x", RetentionDays: -1}, "RetentionDays"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := broker.Open(t.Context(), tt.cfg)
			if err == nil {
				closeBroker(t, b)
				t.Fatalf("Open(%+v) = nil, want an error that names %s", tt.cfg, tt.field)
			}
			if !strings.Contains(err.Error(), ": "+tt.field+":") {
				t.Errorf("Open(%+v) = %v, want an error that names %s", tt.cfg, err, tt.field)
			}
		})
	}
}

func TestOpen_FolderInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir)
	b, err := broker.Open(t.Context(), broker.Config{Dir: dir})
	if err == nil {
		closeBroker(t, b)
		t.Fatal("second Open of one folder = nil, want an error")
	}
	if !strings.Contains(err.Error(), "another process uses it") {
		t.Errorf("second Open of one folder = %v, want one that says who is in the way", err)
	}
}

func TestOpen_FolderOfACluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "cluster"), 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := broker.Open(t.Context(), broker.Config{Dir: dir})
	if err == nil {
		closeBroker(t, b)
		t.Fatal("single Open of a cluster member's folder = nil, want an error")
	}
}

func TestEngineRefusesWithoutSync(t *testing.T) {
	t.Parallel()
	if err := broker.StartUnsynced(t.TempDir()); err == nil || !strings.Contains(err.Error(), "sync") {
		t.Errorf("engine without SyncAlways = %v, want a refusal", err)
	}
}

func TestCommit(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	ctx := t.Context()
	if err := b.Ready(ctx); err != nil {
		t.Errorf("Ready = %v, want nil", err)
	}

	if _, err := b.Get(ctx, "session.a"); !errors.Is(err, checkout.ErrNotFound) {
		t.Errorf("Get of nothing = %v, want ErrNotFound", err)
	}
	v := must(t, b, put("session.a", "one", 0))
	if e := want(t, b, "session.a", "one"); e.Version != v[0] {
		t.Errorf("version = %d, want the one Commit gave, %d", e.Version, v[0])
	}
	if _, err := b.Commit(ctx, put("session.a", "again", 0)); !errors.Is(err, checkout.ErrConflict) {
		t.Errorf("create of what is there = %v, want ErrConflict", err)
	}
	v2 := must(t, b, put("session.a", "two", v[0]), put("reference.test.x", "a", 0), checkout.Write{Key: "event.a.1", Value: []byte("e"), Any: true})
	if v2[1] != v2[0]+1 || v2[2] != v2[0]+2 || v2[0] <= v[0] {
		t.Errorf("versions of one commit = %v after %v, want three in a row", v2, v)
	}
	want(t, b, "session.a", "two")
	if e := want(t, b, "reference.test.x", "a"); e.Version != v2[1] {
		t.Errorf("version of the second write = %d, want %d", e.Version, v2[1])
	}

	// All or nothing: the first write alone would have been right.
	_, err := b.Commit(ctx, put("session.a", "three", v2[0]), put("reference.test.x", "b", 0), put("event.a.2", "e", 0))
	if !errors.Is(err, checkout.ErrConflict) {
		t.Errorf("commit with one stale write = %v, want ErrConflict", err)
	}
	want(t, b, "session.a", "two")
	if _, err := b.Fresh(ctx, "event.a.2"); !errors.Is(err, checkout.ErrNotFound) {
		t.Errorf("Fresh of a refused write = %v, want ErrNotFound", err)
	}

	for _, tt := range []struct {
		name   string
		writes []checkout.Write
		err    error
	}{
		{"no writes", nil, checkout.ErrInvalid},
		{"no key", []checkout.Write{{}}, checkout.ErrInvalid},
		{"wildcard", []checkout.Write{put("session.*", "", 0)}, checkout.ErrInvalid},
		{"blank", []checkout.Write{put("session.a b", "", 0)}, checkout.ErrInvalid},
		{"empty word", []checkout.Write{put("session..a", "", 0)}, checkout.ErrInvalid},
		{"dot at the end", []checkout.Write{put("session.", "", 0)}, checkout.ErrInvalid},
		{"key twice", []checkout.Write{put("a.b", "", 0), put("a.b", "", 0)}, checkout.ErrInvalid},
		{"large value", []checkout.Write{put("a.b", strings.Repeat("x", 1100<<10), 0)}, checkout.ErrTooLarge},
		{"too many", make([]checkout.Write, broker.MaxWrites+1), checkout.ErrTooLarge},
		{"no such year", []checkout.Write{{Key: "a.b", Any: true, At: 1 << 60}}, checkout.ErrInvalid},
		{"no such age", []checkout.Write{{Key: "a.b", Any: true, TTL: 1 << 60}}, checkout.ErrInvalid},
		{"version of the future", []checkout.Write{put("session.a", "", 999)}, checkout.ErrConflict},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := b.Commit(ctx, tt.writes...); !errors.Is(err, tt.err) {
				t.Errorf("Commit = %v, want %v", err, tt.err)
			}
		})
	}
}

func TestCommit_LargestAllowed(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	var writes []checkout.Write
	for i := range broker.MaxWrites {
		writes = append(writes, put("bulk."+strconv.Itoa(i), "v", 0))
	}
	v := must(t, b, writes...)
	if got := v[len(v)-1] - v[0]; got != broker.MaxWrites-1 {
		t.Errorf("last version - first = %d, want %d", got, broker.MaxWrites-1)
	}
	want(t, b, "bulk."+strconv.Itoa(broker.MaxWrites-1), "v")
}

// Many writers, most on keys of their own, some on one that all want: no update of the
// hot key may be lost, and nobody else may feel its conflicts.
func TestCommit_Concurrent(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	const writers, rounds = 24, 12
	var wg sync.WaitGroup
	var mu sync.Mutex
	wins := 0
	for w := range writers {
		wg.Go(func() {
			var version uint64
			for r := range rounds {
				key := fmt.Sprintf("session.w%d", w)
				v, err := b.Commit(t.Context(), put(key, strconv.Itoa(r), version), checkout.Write{Key: fmt.Sprintf("event.w%d.%d", w, r), Value: []byte("e")})
				if err != nil {
					t.Errorf("Commit(%s) = %v, want nil: nobody else writes it", key, err)
					return
				}
				version = v[0]
				for {
					e, err := b.Fresh(t.Context(), "hot.counter")
					if err != nil && !errors.Is(err, checkout.ErrNotFound) {
						t.Errorf("Fresh = %v", err)
						return
					}
					n, _ := strconv.Atoi(string(e.Value))
					_, err = b.Commit(t.Context(), put("hot.counter", strconv.Itoa(n+1), e.Version))
					if err == nil {
						mu.Lock()
						wins++
						mu.Unlock()
						break
					}
					if !errors.Is(err, checkout.ErrConflict) {
						t.Errorf("Commit(hot) = %v, want nil or ErrConflict", err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	want(t, b, "hot.counter", strconv.Itoa(writers*rounds))
	if wins != writers*rounds {
		t.Errorf("successes = %d, want %d", wins, writers*rounds)
	}
	s := b.Stats()
	if s.Groups >= s.Commits {
		t.Errorf("%d commits took %d groups, want fewer: nothing was packed", s.Commits, s.Groups)
	}
	t.Logf("commits %d, groups %d, conflicts %d", s.Commits, s.Groups, s.Conflicts)
}

func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	v := must(t, b, put("session.a", "one", 0), put("reference.live.r", "a", 0))
	seq, err := b.Append(t.Context(), 0, [][]byte{[]byte("r1"), {}, []byte("r3")})
	if err != nil || seq != 1 {
		t.Fatalf("Append = %d, %v, want 1", seq, err)
	}
	closeBroker(t, b)
	if _, err := b.Commit(t.Context(), put("x.y", "", 0)); !errors.Is(err, checkout.ErrUnavailable) {
		t.Errorf("Commit after Close = %v, want ErrUnavailable", err)
	}
	if _, err := b.Append(t.Context(), 0, [][]byte{{1}}); !errors.Is(err, checkout.ErrUnavailable) {
		t.Errorf("Append after Close = %v, want ErrUnavailable", err)
	}

	b = open(t, dir)
	if e := want(t, b, "session.a", "one"); e.Version != v[0] {
		t.Errorf("version after restart = %d, want %d", e.Version, v[0])
	}
	must(t, b, put("session.a", "two", v[0]))
	list, err := b.Read(t.Context(), 0, 1, 10)
	if err != nil || len(list) != 1 || list[0].Seq != 1 || len(list[0].Records) != 3 || string(list[0].Records[2]) != "r3" || len(list[0].Records[1]) != 0 {
		t.Errorf("Read after restart = %v, %v, want the pack", list, err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	for i := range 7 {
		must(t, b, put("event.s."+strconv.Itoa(i), strconv.Itoa(i), 0), put("other."+strconv.Itoa(i), "", 0))
	}
	must(t, b, checkout.Write{Key: "event.s.2", Value: []byte("again"), Any: true})
	var got []string
	var after uint64
	for {
		list, err := b.List(t.Context(), "event.", after, 3)
		if err != nil {
			t.Fatalf("List = %v", err)
		}
		if len(list) == 0 {
			break
		}
		for _, e := range list {
			if e.Version <= after {
				t.Errorf("version %d after %d", e.Version, after)
			}
			after = e.Version
			got = append(got, e.Key+"="+string(e.Value))
		}
	}
	wanted := []string{"event.s.0=0", "event.s.1=1", "event.s.3=3", "event.s.4=4", "event.s.5=5", "event.s.6=6", "event.s.2=again"}
	if !slices.Equal(got, wanted) {
		t.Errorf("List = %v, want %v", got, wanted)
	}
	if _, err := b.List(t.Context(), "event", 0, 3); !errors.Is(err, checkout.ErrInvalid) {
		t.Errorf("List of half a word = %v, want ErrInvalid", err)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	type seen struct {
		key, value string
		version    uint64
	}
	got := make(chan seen, 1000)
	stop := b.Watch("session.", func(e checkout.Entry) { got <- seen{e.Key, string(e.Value), e.Version} })
	const keys, rounds = 5, 20
	var wg sync.WaitGroup
	for k := range keys {
		wg.Go(func() {
			var v uint64
			for r := range rounds {
				versions, err := b.Commit(t.Context(), put("session."+strconv.Itoa(k), strconv.Itoa(r), v), checkout.Write{Key: "event." + strconv.Itoa(k), Any: true})
				if err != nil {
					t.Errorf("Commit = %v", err)
					return
				}
				v = versions[0]
			}
		})
	}
	wg.Wait()
	next := map[string]int{}
	var last uint64
	for range keys * rounds {
		s := <-got
		if s.version <= last {
			t.Errorf("version %d after %d", s.version, last)
		}
		last = s.version
		if s.value != strconv.Itoa(next[s.key]) {
			t.Errorf("change of %s = %s, want %d", s.key, s.value, next[s.key])
		}
		next[s.key]++
	}
	stop()
	must(t, b, put("session.late", "", 0))
	marker := make(chan struct{})
	defer b.Watch("marker.", func(checkout.Entry) { close(marker) })()
	must(t, b, put("marker.a", "", 0))
	<-marker
	if len(got) != 0 {
		t.Errorf("%d changes after stop, want none", len(got))
	}
}

func TestTimers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	soon := time.Now().Unix() + 1
	timer := func(key, value string, at int64) checkout.Write {
		return checkout.Write{Key: key, Value: []byte(value), Any: true, At: at}
	}
	must(t, b, put("session.a", "x", 0), timer("timer.a", "first", soon))
	must(t, b, timer("timer.past", "past", soon-3600))
	must(t, b, timer("timer.moved", "early", soon+3600))
	must(t, b, timer("timer.moved", "moved", soon+1))
	must(t, b, timer("timer.far", "far", soon+3600))
	must(t, b, timer("timer.cancelled", "no", soon))
	must(t, b, checkout.Write{Key: "timer.cancelled", Value: []byte("cancelled"), Any: true})
	// Due while the process is down.
	closeBroker(t, b)
	b = open(t, dir)

	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	got := map[string][]string{}
	all := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- b.Due(ctx, func(_ context.Context, key string, value []byte) error {
			mu.Lock()
			defer mu.Unlock()
			got[key] = append(got[key], string(value))
			if key == "timer.past" && len(got[key]) == 1 {
				return errors.New("not yet")
			}
			if len(got) == 3 && len(got["timer.past"]) == 2 {
				close(all)
			}
			return nil
		})
	}()
	select {
	case <-all:
	case <-time.After(30 * time.Second):
		mu.Lock()
		t.Errorf("due timers = %v, want a, moved, and past twice", got)
		mu.Unlock()
	}
	// One more, so that a wrongly fired one would have come before it.
	last := make(chan struct{})
	must(t, b, timer("timer.last", "last", soon))
	go func() {
		for {
			mu.Lock()
			n := len(got["timer.last"])
			mu.Unlock()
			if n > 0 {
				close(last)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	select {
	case <-last:
	case <-time.After(30 * time.Second):
		t.Error("a timer set while Due runs did not come")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Due = %v, want the end of its context", err)
	}
	for key, values := range map[string]string{"timer.a": "[first]", "timer.past": "[past past]", "timer.moved": "[moved]", "timer.far": "[]", "timer.cancelled": "[]"} {
		if s := fmt.Sprint(got[key]); s != values {
			t.Errorf("%s came with %s, want %s", key, s, values)
		}
	}
}

func TestTTL(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	must(t, b, checkout.Write{Key: "session.short", Value: []byte("x"), TTL: 1})
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := b.Get(t.Context(), "session.short")
		if errors.Is(err, checkout.ErrNotFound) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("Get after its TTL = %v, want ErrNotFound", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	must(t, b, put("session.short", "again", 0))

	// A key for so long: whoever asks for it is refused until it is gone, and not for ever.
	turn := checkout.Write{Key: "turn.short", Value: []byte("x"), TTL: 1}
	must(t, b, turn)
	refused := 0
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := b.Commit(t.Context(), turn)
		if err == nil {
			break
		}
		if refused++; !errors.Is(err, checkout.ErrConflict) || time.Now().After(deadline) {
			t.Fatalf("Commit of a key with a TTL = %v, want ErrConflict until it is over", err)
		}
	}
	if refused == 0 {
		t.Error("Commit of a key with a TTL was not refused while it was there")
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	ctx := t.Context()
	if n := b.Streams(); n != 1 {
		t.Errorf("Streams = %d, want 1", n)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if list, err := b.Read(short, 0, 1, 10); err != nil || len(list) != 0 {
		t.Errorf("Read of nothing = %v, %v, want none and no error", list, err)
	}
	type result struct {
		list []checkout.Pack
		err  error
	}
	got := make(chan result, 1)
	go func() {
		list, err := b.Read(ctx, 0, 1, 10)
		got <- result{list, err}
	}()
	for i := range 5 {
		if _, err := b.Append(ctx, 0, [][]byte{[]byte(strconv.Itoa(i))}); err != nil {
			t.Fatalf("Append = %v", err)
		}
	}
	if r := <-got; r.err != nil || len(r.list) == 0 || r.list[0].Seq != 1 {
		t.Errorf("waiting Read = %v, %v, want the first pack", r.list, r.err)
	}
	list, err := b.Read(ctx, 0, 3, 2)
	if err != nil || len(list) != 2 || list[0].Seq != 3 || list[1].Seq != 4 || string(list[1].Records[0]) != "3" {
		t.Errorf("Read(from 3, max 2) = %v, %v, want packs 3 and 4", list, err)
	}
	if err := b.Trim(ctx, 0, 4); err != nil {
		t.Errorf("Trim = %v, want nil", err)
	}
	if list, err := b.Read(ctx, 0, 1, 10); err != nil || len(list) != 5 {
		t.Errorf("Read after Trim of a nearly empty stream = %d packs, %v, want 5", len(list), err)
	}
	for _, s := range []int{-1, 1} {
		if _, err := b.Append(ctx, s, [][]byte{{1}}); !errors.Is(err, checkout.ErrInvalid) {
			t.Errorf("Append to stream %d = %v, want ErrInvalid", s, err)
		}
	}
}

// What is read right behind the writer comes from memory; it is what the engine has, also
// when appends overtake one another, when more is read than memory holds, and after a
// new start.
func TestLog_Recent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	var wg sync.WaitGroup
	var mu sync.Mutex
	want := map[uint64]string{}
	for w := range 4 {
		wg.Go(func() {
			for i := range 10 {
				text := fmt.Sprintf("%d-%d-%s", w, i, strings.Repeat("x", 400<<10))
				seq, err := b.Append(t.Context(), 0, [][]byte{[]byte(text), []byte("second")})
				if err != nil {
					t.Errorf("Append = %v", err)
					return
				}
				mu.Lock()
				want[seq] = text
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	check := func(b *broker.Broker) {
		t.Helper()
		for from := uint64(1); from <= 40; from += 3 {
			for next := from; next <= 40; {
				list, err := b.Read(t.Context(), 0, next, 7)
				if err != nil || len(list) == 0 || len(list) > 7 {
					t.Fatalf("Read(from %d) = %d packs, %v, want 1 to 7", next, len(list), err)
				}
				for _, p := range list {
					if p.Seq != next || len(p.Records) != 2 || string(p.Records[0]) != want[p.Seq] || string(p.Records[1]) != "second" {
						t.Fatalf("Read gives pack %d with %d records, want %d as it was appended", p.Seq, len(p.Records), next)
					}
					next++
				}
			}
		}
	}
	check(b)
	if held := b.RecentBytes(); held > 8<<20 {
		t.Errorf("%d bytes held, want 8 MiB at most", held)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(open(t, dir))
}

func TestLog_Full(t *testing.T) {
	t.Parallel()
	b, err := broker.Open(t.Context(), broker.Config{Dir: t.TempDir(), MinFreeBytes: 1, CallbackMaxBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer closeBroker(t, b)
	pack := [][]byte{make([]byte, 900<<10)}
	var last uint64
	for {
		seq, err := b.Append(t.Context(), 0, pack)
		if errors.Is(err, checkout.ErrUnavailable) {
			break
		}
		if err != nil || seq > 10 {
			t.Fatalf("Append = %d, %v, want ErrUnavailable when 4 MiB are full", seq, err)
		}
		last = seq
	}
	if err := b.Ready(t.Context()); !errors.Is(err, checkout.ErrUnavailable) {
		t.Errorf("Ready with a full stream = %v, want ErrUnavailable", err)
	}
	if err := b.Trim(t.Context(), 0, last); err != nil {
		t.Fatalf("Trim = %v", err)
	}
	if _, err := b.Append(t.Context(), 0, pack); err != nil {
		t.Errorf("Append after Trim = %v, want nil: what is applied makes room", err)
	}
	list, err := b.Read(t.Context(), 0, 1, 10)
	if err != nil || len(list) == 0 || list[0].Seq == 1 || list[len(list)-1].Seq != last+1 {
		t.Errorf("Read after Trim = %v packs, %v, want the newer ones up to %d", len(list), err, last+1)
	}
}

// The engine keeps the error of a failed write for as long as it runs: the store is not
// ready any more and says that it wants a new process.
func TestFailed(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	if err := b.Ready(t.Context()); err != nil {
		t.Fatalf("Ready = %v", err)
	}
	select {
	case err := <-b.Failed():
		t.Fatalf("Failed gives %v before anything failed", err)
	default:
	}
	b.Break()
	if err := b.Ready(t.Context()); !errors.Is(err, checkout.ErrUnavailable) {
		t.Errorf("Ready after a failed write = %v, want ErrUnavailable", err)
	}
	select {
	case err := <-b.Failed():
		if !errors.Is(err, checkout.ErrUnavailable) {
			t.Errorf("Failed gives %v, want ErrUnavailable", err)
		}
	case <-t.Context().Done():
	case <-time.After(30 * time.Second):
		t.Error("Failed gives nothing after a failed write")
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	b, err := broker.Open(t.Context(), broker.Config{Dir: t.TempDir(), MinFreeBytes: 1 << 60})
	if err != nil {
		t.Fatal(err)
	}
	defer closeBroker(t, b)
	if _, err := b.Commit(t.Context(), put("a.b", "", 0)); !errors.Is(err, checkout.ErrUnavailable) {
		t.Errorf("Commit on a full disk = %v, want ErrUnavailable", err)
	}
	if _, err := b.Append(t.Context(), 0, [][]byte{{1}}); !errors.Is(err, checkout.ErrUnavailable) {
		t.Errorf("Append on a full disk = %v, want ErrUnavailable", err)
	}
	if err := b.Ready(t.Context()); !errors.Is(err, checkout.ErrUnavailable) {
		t.Errorf("Ready on a full disk = %v, want ErrUnavailable", err)
	}
}

func TestLease_Single(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	for range 2 {
		if held, err := b.Lease(t.Context(), "apply", time.Second); !held || err != nil {
			t.Errorf("Lease = %v, %v, want held at once: there is nobody else", held, err)
		}
	}
}

// child is the process that gets killed: it writes as fast as it can and prints what was
// acknowledged, in two forms: pairs of keys in one commit, and packs of callbacks.
func child(dir string) {
	ctx := context.Background()
	b, err := broker.Open(ctx, broker.Config{Dir: dir, MinFreeBytes: 1})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	// What an earlier child left decides where this one goes on.
	base := os.Getenv("BROKER_TEST_ROUND")
	var mu sync.Mutex
	say := func(f string, v ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(f+"\n", v...)
	}
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s-%d-%d", base, w, i)
				if _, err := b.Commit(ctx, put("session."+id, id, 0), put("event."+id, id, 0)); err != nil {
					say("error %v", err)
					return
				}
				say("commit %s", id)
			}
		}()
	}
	for i := 0; ; i++ {
		id := fmt.Sprintf("%s-%d", base, i)
		seq, err := b.Append(ctx, 0, [][]byte{[]byte(id)})
		if err != nil {
			say("error %v", err)
			return
		}
		say("append %d %s", seq, id)
	}
}

func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acked := map[string]bool{}
	packs := map[uint64]string{}
	const rounds = 3
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "BROKER_TEST_CHILD="+dir, "BROKER_TEST_ROUND="+strconv.Itoa(round))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		scanner := bufio.NewScanner(out)
		n := 0
		for scanner.Scan() {
			f := strings.Fields(scanner.Text())
			switch f[0] {
			case "commit":
				acked[f[1]] = true
				n++
			case "append":
				seq, _ := strconv.ParseUint(f[1], 10, 64)
				packs[seq] = f[2]
			default:
				t.Errorf("child says %q", scanner.Text())
			}
			if n == 60+30*round {
				n++
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
	}
	b := open(t, dir)
	lost := 0
	for id := range acked {
		for _, key := range []string{"session." + id, "event." + id} {
			e, err := b.Fresh(t.Context(), key)
			if err != nil || string(e.Value) != id {
				lost++
			}
		}
	}
	// What was not acknowledged may be there, but not by halves.
	sessions, err := b.List(t.Context(), "session.", 0, 100000)
	if err != nil {
		t.Fatalf("List = %v", err)
	}
	halves := 0
	for _, e := range sessions {
		if _, err := b.Fresh(t.Context(), "event."+string(e.Value)); err != nil {
			halves++
		}
	}
	events, err := b.List(t.Context(), "event.", 0, 100000)
	if err != nil || len(events) != len(sessions) {
		t.Errorf("%d events (%v), want as many as sessions, %d", len(events), err, len(sessions))
	}
	var from uint64 = 1
	stored := map[uint64]string{}
	for len(packs) > 0 {
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		list, err := b.Read(short, 0, from, 200)
		cancel()
		if err != nil {
			t.Fatalf("Read = %v", err)
		}
		if len(list) == 0 {
			break
		}
		for _, p := range list {
			stored[p.Seq] = string(p.Records[0])
			from = p.Seq + 1
		}
	}
	for seq, id := range packs {
		if stored[seq] != id {
			lost++
		}
	}
	if lost != 0 || halves != 0 {
		t.Errorf("after %d kills: %d acknowledged writes lost, %d commits by halves, want 0 and 0", rounds, lost, halves)
	}
	if len(acked) < 50*rounds {
		t.Errorf("only %d commits were acknowledged before the kills: the test shows little", len(acked))
	}
	t.Logf("%d commits and %d packs acknowledged, %d sessions stored", len(acked), len(packs), len(sessions))
}
