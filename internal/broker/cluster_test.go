package broker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wzrdcheckout/internal/broker"
	"wzrdcheckout/internal/checkout"
)

// node is a replica in a process of its own. It says what it sees on its output.
func node(conf string) {
	var c broker.Config
	if err := json.Unmarshal([]byte(conf), &c); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	if os.Getenv("BROKER_TEST_LOG") != "" {
		c.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	ctx := context.Background()
	b, err := broker.Open(ctx, c)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	b.Watch("session.", func(e checkout.Entry) {
		fmt.Println("saw", e.Key, string(e.Value), e.Version)
	})
	for b.Ready(ctx) != nil {
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the parent goes
}

type process struct {
	cmd   *exec.Cmd
	ready chan struct{}
	mu    sync.Mutex
	saw   []string
}

func startNode(t *testing.T, c broker.Config) *process {
	t.Helper()
	conf, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(os.Args[0]), ready: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "BROKER_TEST_NODE="+string(conf))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := bufio.NewScanner(out); s.Scan(); {
			switch word, rest, _ := strings.Cut(s.Text(), " "); word {
			case "ready":
				close(p.ready)
			case "saw":
				p.mu.Lock()
				p.saw = append(p.saw, rest)
				p.mu.Unlock()
			default:
				t.Errorf("node %s says %q", c.ServerName, s.Text())
			}
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		p.kill()
		<-done
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *process) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.saw) == 0 {
		return ""
	}
	return p.saw[len(p.saw)-1]
}

// freePorts finds ports below those that the kernel gives to outgoing connections, and
// gives none twice: tests run side by side, and a node that is down has left its port.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var list []string
	for range 1000 {
		port := 12_000 + mathrand.IntN(20_000)
		if _, taken := givenPorts.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = l.Close()
		if list = append(list, l.Addr().String()); len(list) == n {
			return list
		}
	}
	t.Fatal("no free ports between 12000 and 32000")
	return nil
}

var givenPorts sync.Map

// One node with data becomes three; the leader is killed under load and comes back.
// This process is the replica that had the data, the two others are processes.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("short: three processes and an election take some ten seconds")
	}
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}

	// The time as a single node.
	single := open(t, dirs[0])
	version := must(t, single, put("session.old", "one", 0), put("reference.live.old", "x", 0),
		checkout.Write{Key: "timer.old", Value: []byte("due"), Any: true, At: time.Now().Unix() + 4})[0]
	version = must(t, single, put("session.old", "two", version))[0]
	for i := range 3 {
		if _, err := single.Append(t.Context(), 0, [][]byte{[]byte("old" + strconv.Itoa(i))}); err != nil {
			t.Fatal(err)
		}
	}
	closeBroker(t, single)

	peers := freePorts(t, 3)
	config := func(i int) broker.Config {
		return broker.Config{
			Dir: dirs[i], ServerName: fmt.Sprintf("n%d", i), ClusterListen: peers[i], ClusterPeers: peers,
			ClusterSecret: clusterSecret, MinFreeBytes: 1,
		}
	}
	nodes := map[string]*process{"n1": startNode(t, config(1)), "n2": startNode(t, config(2))}
	c := config(0)
	if os.Getenv("BROKER_TEST_LOG") != "" {
		c.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	begin := time.Now()
	b, err := broker.Open(t.Context(), c)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	waitReady(t, b, nodes)
	t.Logf("three nodes ready after %v", time.Since(begin).Round(time.Millisecond))

	// Everything is there, under the same versions.
	if e := want(t, b, "session.old", "two"); e.Version != version {
		t.Errorf("version of session.old = %d, want %d", e.Version, version)
	}
	want(t, b, "reference.live.old", "x")
	list, err := b.Read(t.Context(), 0, 1, 10)
	if err != nil || len(list) != 3 || list[2].Seq != 3 || string(list[2].Records[0]) != "old2" {
		t.Errorf("Read of the moved stream = %v, %v, want three packs", list, err)
	}
	if _, err := os.Stat(filepath.Join(dirs[0], "single.moved")); err != nil {
		t.Errorf("the old folder was not put aside: %v", err)
	}
	for _, stream := range []string{"CHECKOUT", "CALLBACKS_0", "CALLBACKS_1", "CALLBACKS_2"} {
		if _, replicas := b.Leader(t.Context(), stream); replicas != 3 {
			t.Errorf("%s has %d copies, want 3", stream, replicas)
		}
	}
	due := make(chan string, 10)
	dueCtx, stopDue := context.WithCancel(t.Context())
	dueDone := make(chan struct{})
	go func() {
		defer close(dueDone)
		_ = b.Due(dueCtx, func(_ context.Context, key string, value []byte) error {
			due <- key + "=" + string(value)
			return nil
		})
	}()
	select {
	case got := <-due:
		if got != "timer.old=due" {
			t.Errorf("due timer = %s, want the one set on the single node", got)
		}
	case <-time.After(30 * time.Second):
		t.Error("the timer set on the single node did not come in the cluster")
	}
	stopDue()
	<-dueDone

	// A lease has one holder; this replica's own changes reach the others in order.
	if held, err := b.Lease(t.Context(), "some", time.Minute); !held || err != nil {
		t.Errorf("Lease = %v, %v, want held", held, err)
	}

	// Load, and the leader dies under it.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	leader := "n1"
	if !b.Lead(ctx, "CHECKOUT", leader) {
		t.Fatalf("%s did not become the leader", leader)
	}
	const writers, each = 6, 25
	type acked struct {
		key, value string
	}
	var mu sync.Mutex
	var all []acked
	packs := map[string]bool{}
	killed := make(chan struct{})
	var wg sync.WaitGroup
	var gap time.Duration
	for w := range writers {
		wg.Go(func() {
			var version uint64
			key := "session.w" + strconv.Itoa(w)
			for i := range each {
				if w == 0 && i == each/3 {
					nodes[leader].kill()
					close(killed)
				}
				value := strconv.Itoa(i)
				start := time.Now()
				for {
					v, err := b.Commit(t.Context(), put(key, value, version), put(fmt.Sprintf("event.w%d.%d", w, i), value, 0))
					if err == nil {
						version = v[0]
						break
					}
					// Nobody else writes these keys: a conflict is a lost answer.
					if errors.Is(err, checkout.ErrConflict) {
						t.Errorf("Commit(%s) = %v: a conflict with nobody", key, err)
						return
					}
					if e, err := b.Fresh(t.Context(), key); err == nil && string(e.Value) == value {
						version = e.Version
						break
					}
					if time.Since(start) > 60*time.Second {
						t.Errorf("Commit(%s) does not get through: %v", key, err)
						return
					}
				}
				mu.Lock()
				gap = max(gap, time.Since(start))
				all = append(all, acked{key, value})
				mu.Unlock()
			}
		})
	}
	wg.Go(func() {
		// Callbacks: the next stream when one does not answer.
		for i := 0; ; i++ {
			id := "cb" + strconv.Itoa(i)
			for s := 0; ; s = (s + 1) % b.Streams() {
				call, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				_, err := b.Append(call, s, [][]byte{[]byte(id)})
				cancel()
				if err == nil {
					packs[id] = true
					break
				}
				if t.Context().Err() != nil {
					return
				}
			}
			select {
			case <-killed:
				if i > 400 {
					return
				}
			default:
			}
		}
	})
	wg.Wait()
	t.Logf("%d commits and %d packs acknowledged, longest commit over the death of the leader %v", len(all), len(packs), gap.Round(time.Millisecond))
	select {
	case <-killed:
	default:
		t.Error("the leader was not killed")
	}

	// The dead one comes back and has everything; the other has seen every last change.
	nodes[leader] = startNode(t, config(1))
	waitReady(t, b, nodes)
	for w := range writers {
		want(t, b, "session.w"+strconv.Itoa(w), strconv.Itoa(each-1))
		for i := range each {
			if _, err := b.Fresh(t.Context(), fmt.Sprintf("event.w%d.%d", w, i)); err != nil {
				t.Errorf("event.w%d.%d = %v, want the acknowledged write", w, i, err)
			}
		}
	}
	stored := map[string]bool{}
	for s := range b.Streams() {
		last, err := b.Last(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		for from := uint64(1); from <= last; {
			// A node that has just come back may lag; Read waits for it.
			call, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			list, err := b.Read(call, s, from, 500)
			cancel()
			if err != nil || len(list) == 0 {
				t.Fatalf("Read of stream %d from %d = %d packs, %v, want those up to %d", s, from, len(list), err, last)
			}
			for _, p := range list {
				stored[string(p.Records[0])] = true
				from = p.Seq + 1
			}
		}
	}
	for id := range packs {
		if !stored[id] {
			t.Errorf("acknowledged callback %s is lost", id)
		}
	}
	v := must(t, b, put("session.last", "end", 0))[0]
	marker := fmt.Sprintf("session.last end %d", v)
	deadline := time.Now().Add(30 * time.Second)
	for nodes["n2"].last() != marker {
		if time.Now().After(deadline) {
			t.Fatalf("n2 saw %q last, want %q", nodes["n2"].last(), marker)
		}
		time.Sleep(20 * time.Millisecond)
	}
	seen := map[string]uint64{}
	values := map[string]string{}
	nodes["n2"].mu.Lock()
	for _, line := range nodes["n2"].saw {
		f := strings.Fields(line)
		version, _ := strconv.ParseUint(f[2], 10, 64)
		if version <= seen[f[0]] {
			t.Errorf("n2 saw version %d of %s after %d", version, f[0], seen[f[0]])
		}
		seen[f[0]], values[f[0]] = version, f[1]
	}
	nodes["n2"].mu.Unlock()
	for w := range writers {
		if k := "session.w" + strconv.Itoa(w); values[k] != strconv.Itoa(each-1) {
			t.Errorf("n2 saw %s = %q last, want %d", k, values[k], each-1)
		}
	}
}

func waitReady(t *testing.T, b *broker.Broker, nodes map[string]*process) {
	t.Helper()
	deadline := time.After(90 * time.Second)
	for {
		err := b.Ready(t.Context())
		if err == nil {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("Ready = %v after 90 s", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	for name, p := range nodes {
		select {
		case <-p.ready:
		case <-deadline:
			t.Fatalf("%s is not ready after 90 s", name)
		}
	}
}

func TestQuorate(t *testing.T) {
	t.Parallel()
	peers := func(active ...time.Duration) []*jetstream.PeerInfo {
		var list []*jetstream.PeerInfo
		for _, a := range active {
			list = append(list, &jetstream.PeerInfo{Active: max(a, 0), Offline: a < 0})
		}
		return list
	}
	tests := []struct {
		name    string
		cluster *jetstream.ClusterInfo
		want    bool
	}{
		{"a single engine", nil, true},
		{"all there", &jetstream.ClusterInfo{Leader: "a", Replicas: peers(time.Millisecond, time.Second)}, true},
		{"one of three is away", &jetstream.ClusterInfo{Leader: "a", Replicas: peers(time.Millisecond, time.Hour)}, true},
		{"one of three is known to be away", &jetstream.ClusterInfo{Leader: "a", Replicas: peers(time.Millisecond, -1)}, true},
		{"cut off, and not aware of it", &jetstream.ClusterInfo{Leader: "a", Replicas: peers(7*time.Second, 8*time.Second)}, false},
		{"both others are known to be away", &jetstream.ClusterInfo{Leader: "a", Replicas: peers(-1, -1)}, false},
		{"leads nothing any more, and has forgotten when it heard of the others", &jetstream.ClusterInfo{Replicas: peers(0, 0, 0)}, false},
	}
	for _, tt := range tests {
		if got := broker.Quorate(&jetstream.StreamInfo{Cluster: tt.cluster}); got != tt.want {
			t.Errorf("Quorate(%s) = %v, want %v", tt.name, got, tt.want)
		}
	}
}
