package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// load is shoppers who pay without a pause while replicas die, and one more who repeats a
// callback all the time, to see how long none is taken.
type load struct {
	f      *fleet
	stop   context.CancelFunc
	wg     sync.WaitGroup
	number atomic.Int64
	twice  atomic.Int64 // revisions that a page got again

	mu       sync.Mutex
	payments []*payment
	acks     []time.Time // of the repeated callback, in order
	slowest  time.Duration
	slow     string          // what it was
	turned   []time.Duration // from the shopper's yes to the page that says so
}

// startLoad begins; end waits for all that is under way.
func (f *fleet) startLoad(shoppers int, prefix string) *load {
	ctx, cancel := context.WithCancel(f.t.Context())
	l := &load{f: f, stop: cancel}
	for range shoppers {
		l.wg.Go(func() {
			for ctx.Err() == nil {
				l.shop(prefix + strconv.FormatInt(l.number.Add(1), 10))
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	for range 3 {
		l.wg.Go(func() { l.repeat(ctx) })
	}
	return l
}

// again repeats what a person or a server would repeat, until it works or two minutes are over.
func (l *load) again(what string, f func(ctx context.Context) error) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	begin := time.Now()
	before := ""
	for {
		call, done := context.WithTimeout(ctx, 30*time.Second)
		err := f(call)
		done()
		if err == nil {
			l.mu.Lock()
			if took := time.Since(begin); took > l.slowest {
				l.slowest, l.slow = took, what+": "+before
			}
			l.mu.Unlock()
			return true
		}
		if ctx.Err() != nil {
			l.f.t.Errorf("%s: not within two minutes: %v", what, err)
			return false
		}
		before = err.Error()
		time.Sleep(100 * time.Millisecond)
	}
}

// shop is one payment from its session to the page that says what became of it.
func (l *load) shop(reference string) {
	f := l.f
	var p payment
	if !l.again("open session "+reference, func(ctx context.Context) (err error) {
		p, err = openSession(ctx, f.back.URL, reference)
		return err
	}) {
		return
	}
	v := &viewer{}
	page, close := context.WithTimeout(context.Background(), 3*time.Minute)
	defer close()
	seen := make(chan error, 1)
	go func() { seen <- v.follow(page, f.front.URL, f.front.URL, p.token) }()
	if !l.again("pay "+reference, func(ctx context.Context) error { return pay(ctx, f.front.URL, &p) }) {
		return
	}
	var err error
	decided := time.Now()
	if p.want = "paid"; len(reference)%5 == 0 || reference[len(reference)-1] == '7' {
		p.want = "failed"
		_, err = f.psp.Fail(p.invoice, "declined")
	} else {
		_, err = f.psp.Pay(p.invoice)
	}
	if err != nil {
		f.t.Errorf("resolve %s: %v", p.invoice, err)
		return
	}
	l.mu.Lock()
	l.payments = append(l.payments, &p)
	l.mu.Unlock()
	if err := <-seen; err != nil {
		f.t.Errorf("the page of %s: %v", reference, err)
	}
	l.twice.Add(int64(v.twice))
	l.mu.Lock()
	l.turned = append(l.turned, time.Since(decided))
	l.mu.Unlock()
	if v.last() != p.want {
		f.t.Errorf("the page of %s says %q, want %q", reference, v.last(), p.want)
	}
}

// repeat sends one callback of the past again and again.
func (l *load) repeat(ctx context.Context) {
	for ctx.Err() == nil {
		body, signature := l.f.front.sampleCallback()
		if body != nil {
			call, cancel := context.WithTimeout(ctx, 10*time.Second)
			code, _, err := exchange(call, "POST", l.f.front.URL+"/v1/callbacks/wzrdpay", http.Header{"X-Signature": {signature}}, body)
			cancel()
			if err == nil && code == 200 {
				l.mu.Lock()
				l.acks = append(l.acks, time.Now())
				l.mu.Unlock()
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// refused is the longest time since a moment in which no callback was taken.
func (l *load) refused(since time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var longest time.Duration
	at := since
	for _, t := range l.acks {
		if t.After(at) {
			longest = max(longest, t.Sub(at))
			at = t
		}
	}
	return max(longest, time.Since(at))
}

// await waits until callbacks are taken again, and some payments went through since.
func (l *load) await(since time.Time) {
	l.f.t.Helper()
	l.mu.Lock()
	before := len(l.payments)
	l.mu.Unlock()
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		l.mu.Lock()
		done := len(l.acks) > 0 && l.acks[len(l.acks)-1].After(since) && len(l.payments) >= before+5
		l.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(end) {
			l.f.t.Fatal("no payment goes through any more")
		}
	}
}

// end stops the load and looks at everything that happened: at each replica, in the shop
// and in the pages.
func (l *load) end() {
	f := l.f
	f.t.Helper()
	l.stop()
	l.wg.Wait()
	f.awaitReady(f.replicas...)
	ids := map[string]*payment{}
	for _, p := range l.payments {
		ids[p.invoice] = p
	}
	lost, wrong, missing := 0, 0, 0
	acked := f.front.ackedInvoices()
	deadline := time.Now().Add(90 * time.Second)
	for _, p := range l.payments {
		for i, r := range f.replicas {
			s, err := look(f.t.Context(), "http://"+r.private, p.id)
			for (err != nil || s.Status != p.want) && time.Now().Before(deadline) {
				time.Sleep(50 * time.Millisecond)
				s, err = look(f.t.Context(), "http://"+r.private, p.id)
			}
			if err != nil || s.Status != p.want {
				wrong++
				if i == 0 && acked[p.invoice] {
					lost++
				}
				f.t.Errorf("%s shows %s as %q (%v), want %q; its callback was acknowledged: %v", r.name, p.reference, s.Status, err, p.want, acked[p.invoice])
			}
		}
		for !slices.Contains(f.shop.of(p.id), "session."+p.want) && time.Now().Before(deadline) {
			time.Sleep(50 * time.Millisecond)
		}
		heard := f.shop.of(p.id)
		if !slices.Contains(heard, "session."+p.want) {
			missing++
			f.t.Errorf("the shop heard %v of %s, want session.%s", heard, p.reference, p.want)
		}
		if i, j := slices.Index(heard, "session.pending"), slices.Index(heard, "session."+p.want); i > j {
			f.t.Errorf("the shop heard %v of %s: out of order", heard, p.reference)
		}
	}
	for id := range acked {
		if ids[id] == nil {
			if inv, ok := f.psp.Invoice(id); !ok || inv.Status == "" {
				f.t.Errorf("acknowledged callback of an unknown invoice %s", id)
			}
		}
	}
	if n := l.twice.Load(); n > 0 {
		f.t.Errorf("pages got %d revisions again", n)
	}
	byRef := map[string]int{}
	for _, inv := range f.psp.Invoices() {
		byRef[inv.ReferenceID]++
		if byRef[inv.ReferenceID] > 1 {
			f.t.Errorf("WZRDPAY has two invoices of %s", inv.ReferenceID)
		}
	}
	f.t.Logf("%d payments, %d callbacks acknowledged: lost %d, statuses wrong %d, webhooks missing %d (sent again %d), revisions seen twice %d; slowest step %v (%.300s)",
		len(l.payments), len(acked)+len(l.acks), lost, wrong, missing, f.shop.twice(), l.twice.Load(), l.slowest.Round(10*time.Millisecond), l.slow)
	if slices.Sort(l.turned); len(l.turned) > 0 {
		f.t.Logf("from the shopper's yes to the page: median %s, at the most %s", said(l.turned[len(l.turned)/2]), said(l.turned[len(l.turned)-1]))
	}
	if len(l.payments) < 10 {
		f.t.Errorf("only %d payments: that was no load", len(l.payments))
	}
}

// said is a duration for the log.
func said(d time.Duration) string { return fmt.Sprint(d.Round(10 * time.Millisecond)) }
