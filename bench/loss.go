package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"wzrdcheckout/soak/ordeal"
)

// loss puts bff through short forms of the ordeals that `./build.sh soak` has in full:
// kill -9 and power cuts under load, a WZRDPAY that misbehaves, and a cluster of three
// whose replicas die. What was answered 200 must be there afterwards.
func (b *bench) loss(ctx context.Context) error {
	const seed = 1
	ends, cuts, invoices, sessions, kills := 10, 5, 500, 500, 5
	if b.short {
		ends, cuts, invoices, sessions, kills = 2, 1, 100, 50, 1
	}
	dirs := map[string]string{}
	for _, name := range []string{"kill", "power", "chaos"} {
		dir, err := b.dir(name)
		if err != nil {
			return err
		}
		dirs[name] = dir
	}
	b.ordeal(fmt.Sprintf("answered callbacks lost: kill -9 under load, %d times", ends), "100 times: ./build.sh soak kill", func(log func(string, ...any)) error {
		return ordeal.Stream(ctx, ordeal.StreamConfig{Bin: b.bin, Dir: dirs["kill"], Seed: seed, Invoices: invoices, Senders: 64, Pages: 20, Ends: ends, Log: log})
	})
	b.ordeal(fmt.Sprintf("answered callbacks lost: power cut under load, simulated, %d times", cuts), "100 times: ./build.sh soak power", func(log func(string, ...any)) error {
		if err := ordeal.HaveTrace(); err != nil {
			return err
		}
		return ordeal.Stream(ctx, ordeal.StreamConfig{Bin: b.bin, Dir: dirs["power"], Seed: seed, Invoices: invoices, Senders: 64, Pages: 20, Ends: cuts, PowerCut: true, Log: log})
	})
	b.ordeal(fmt.Sprintf("invoices at WZRDPAY beyond one an attempt: %s sessions, 5 submits each, every fault on, %d x kill -9", number(float64(sessions)), kills),
		"10,000 sessions: ./build.sh soak chaos", func(log func(string, ...any)) error {
			return ordeal.Chaos(ctx, ordeal.ChaosConfig{Bin: b.bin, Dir: dirs["chaos"], Seed: seed, Sessions: sessions, Submits: 5, Kills: kills, Workers: 32, Log: log})
		})
	b.cluster(ctx)
	return nil
}

// ordeal adds the row of a trial: a broken promise falls short, a trial that could not go
// on was not run.
func (b *bench) ordeal(what, long string, try func(log func(string, ...any)) error) {
	began := time.Now()
	var said []string
	err := try(func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
	b.say("%s: %s", what, time.Since(began).Round(100*time.Millisecond))
	switch {
	case errors.Is(err, ordeal.ErrBroken):
		b.must(what, "= 0", "broken", fmt.Sprintf("%.400s", strings.Join(strings.Fields(err.Error()), " ")), false)
	case err != nil:
		b.missing(what, "= 0", err)
	default:
		// What the log of the program had is the soak's to tell.
		text, _, _ := strings.Cut(strings.Join(said, "; "), "; log:")
		text, _, _ = strings.Cut(text, "; answers:")
		b.must(what, "= 0", "0", text+". "+long, true)
	}
}

// counted is what the test of the cluster says of its load.
var counted = regexp.MustCompile(`(\d+ payments, \d+ callbacks acknowledged): lost (\d+), statuses wrong (\d+), webhooks missing (\d+)`)

// cluster runs the test in which the leader, a follower and then all three are killed and
// restarted under load: three replicas need routes, a proxy in front and pages, all of
// which it has.
func (b *bench) cluster(ctx context.Context) {
	const (
		what = "answered callbacks lost: cluster of three, leader, follower and all killed, rolling restart"
		long = "(cd e2e && CHECKOUT_SOAK=1h go test -run '^TestClusterSurvives$' -v .)"
	)
	if b.short {
		b.missing(what, "= 0", errors.New("takes 40 s: not with -short; for an hour: "+long))
		return
	}
	began := time.Now()
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-run", "^TestClusterSurvives$", "-v", ".")
	cmd.Dir = "e2e"
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	b.say("%s: %s", what, time.Since(began).Round(100*time.Millisecond))
	found := counted.FindSubmatch(out)
	if found == nil {
		if err == nil {
			err = errors.New("it does not say what it counted")
		}
		b.missing(what, "= 0", fmt.Errorf("the test of the cluster: %w: %s", err, bytes.TrimSpace(out[max(0, len(out)-300):])))
		return
	}
	ok := err == nil && bytes.Contains(out, []byte("--- PASS: TestClusterSurvives"))
	b.must(what, "= 0", string(found[2]), fmt.Sprintf("%s; statuses wrong %s, webhooks missing %s. For an hour: %s", found[1], found[3], found[4], long),
		ok && string(found[2]) == "0")
}
