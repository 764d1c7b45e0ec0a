package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The life of a deployment: one replica, its data copied while it is stopped, the copy
// tried, then three replicas over the data of the one.
func TestClusterGrows(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	first := f.add("first")
	first.start()
	f.awaitReady(first)

	// A session of each kind: paid, under way, only open.
	payments := map[string]*payment{}
	for _, kind := range []string{"paid", "pending", "open"} {
		p, err := openSession(t.Context(), "http://"+first.private, "grow-"+kind)
		if err != nil {
			t.Fatal(err)
		}
		payments[kind] = &p
		if kind != "open" {
			if err := pay(t.Context(), "http://"+first.public, &p); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := f.psp.Pay(payments["paid"].invoice); err != nil {
		t.Fatal(err)
	}
	before := map[string]sessionView{}
	for kind, p := range payments {
		before[kind] = f.awaitStatus(first, p, kind)
	}
	for end := time.Now().Add(time.Minute); !slices.Contains(f.shop.of(payments["paid"].id), "session.paid"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the shop heard nothing")
		}
	}
	same := func(r *replica) {
		t.Helper()
		for kind, p := range payments {
			s, err := look(t.Context(), "http://"+r.private, p.id)
			if err != nil || s.Status != before[kind].Status || s.Revision != before[kind].Revision {
				t.Errorf("%s shows the %s session as %q, revision %d, %v; want %q, %d", r.name, kind, s.Status, s.Revision, err, before[kind].Status, before[kind].Revision)
			}
		}
	}

	// Backup and restore: stop, copy, start; the copy somewhere else has everything.
	first.stop()
	copied := f.add("copied")
	if err := os.CopyFS(copied.dir, os.DirFS(first.dir)); err != nil {
		t.Fatal(err)
	}
	copied.start()
	f.awaitReady(copied)
	same(copied)
	copied.stop()
	f.leave(copied)

	// Growing: the same folder with the cluster's settings, two empty ones beside it.
	heard := f.shop.twice()
	f.add("second")
	f.add("third")
	f.join()
	for _, r := range f.replicas {
		r.start()
	}
	t.Logf("one replica with data became three: ready after %s", said(f.awaitReady(f.replicas...)))
	for _, r := range f.replicas {
		same(r)
	}
	if _, err := os.Stat(filepath.Join(first.dir, "single.moved")); err != nil {
		t.Errorf("the folder of the single replica was not put aside: %v", err)
	}
	// What was under way goes on, and nothing is told twice.
	if _, err := f.psp.Pay(payments["pending"].invoice); err != nil {
		t.Fatal(err)
	}
	if err := pay(t.Context(), "http://"+f.replicas[2].public, payments["open"]); err != nil {
		t.Fatal(err)
	}
	if _, err := f.psp.Pay(payments["open"].invoice); err != nil {
		t.Fatal(err)
	}
	for _, r := range f.replicas {
		for _, p := range payments {
			f.awaitStatus(r, p, "paid")
		}
	}
	for _, p := range payments {
		for end := time.Now().Add(time.Minute); !slices.Contains(f.shop.of(p.id), "session.paid"); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the shop heard %v of %s", f.shop.of(p.id), p.reference)
			}
		}
	}
	if n := f.shop.twice(); n != heard {
		t.Errorf("%d webhooks came again after the move", n-heard)
	}

	// Going back by taking the settings away would hide the cluster's data: it is refused.
	third := f.replicas[2]
	third.stop()
	settings := third.settings
	third.settings = nil
	third.start()
	for end := time.Now().Add(time.Minute); third.running(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a member of a cluster starts as a single replica")
		}
	}
	if said := third.log.tail(); !strings.Contains(said, "belongs to a member of a cluster") {
		t.Errorf("a member of a cluster started alone says %q, want why it does not start", said)
	}
	third.settings = settings
	third.start()
	f.awaitReady(third)

	// A lost disk: all that its successor needs is the name.
	third.kill()
	name, err := os.ReadFile(filepath.Join(third.dir, "server-name"))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []error{
		os.RemoveAll(third.dir), os.MkdirAll(third.dir, 0o700), os.WriteFile(filepath.Join(third.dir, "server-name"), name, 0o600),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	third.start()
	t.Logf("a replica with an empty disk and its name: ready after %s", said(f.awaitReady(third)))
	paid := func() {
		t.Helper()
		for _, r := range f.replicas {
			for _, p := range payments {
				if s, err := look(t.Context(), "http://"+r.private, p.id); err != nil || s.Status != "paid" {
					t.Errorf("%s shows %s as %q, %v, want paid", r.name, p.reference, s.Status, err)
				}
			}
		}
	}
	paid()

	// The one that was emptied must be able to answer for the others: it is one of the two
	// that are left.
	first.stop()
	f.leave(first)
	f.awaitReady(f.replicas...)
	paid()
	for _, r := range f.replicas {
		r.stop()
	}

	// Backup and restore of three: stop all, copy each, start all from the copies.
	f.replicas = append(f.replicas, first)
	for _, r := range f.replicas {
		copied := r.dir + "-restored"
		if err := os.CopyFS(copied, os.DirFS(r.dir)); err != nil {
			t.Fatal(err)
		}
		r.dir = copied
		r.start()
	}
	t.Logf("three replicas from copies: ready after %s", said(f.awaitReady(f.replicas...)))
	paid()
}

// awaitStatus waits until a replica shows a session with a status.
func (f *fleet) awaitStatus(r *replica, p *payment, status string) sessionView {
	f.t.Helper()
	var s sessionView
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if s, err = look(f.t.Context(), "http://"+r.private, p.id); err == nil && s.Status == status {
			return s
		}
	}
	f.t.Fatalf("%s shows %s as %q, %v, want %q", r.name, p.reference, s.Status, err, status)
	return s
}
