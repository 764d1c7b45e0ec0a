package ordeal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"wzrdcheckout/internal/sandbox"
)

// EndpointConfig is how many payments are made beside each broken endpoint.
type EndpointConfig struct {
	Bin, Dir string
	Seed     uint64
	Payments int
	Log      func(format string, args ...any)
}

// Endpoint pays while the shop's webhook endpoint hangs, redirects or answers 500, and
// beside it, in turns, at a program whose endpoint is well: no payment may be slower for
// it. Each is counted by a metric, the redirect is not followed, and once the endpoint is
// well everything arrives.
func Endpoint(ctx context.Context, cfg EndpointConfig) error {
	wzrd, stop, err := wzrdpay(ctx, sandbox.Config{HistoryLimit: 1000, CallbackRetry: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	defer stop()
	var strayed atomic.Int64
	elsewhere, err := NewReceiver(cfg.Seed, 0, 0)
	if err != nil {
		return err
	}
	defer elsewhere.Close()
	var found findings
	programs := make([]*Program, 2) // the first one's endpoint is broken
	hooks := make([]*Receiver, 2)
	for i := range programs {
		if hooks[i], err = NewReceiver(cfg.Seed, 0, 0); err != nil {
			return err
		}
		defer hooks[i].Close()
		if programs[i], err = NewProgram(Settings{Bin: cfg.Bin, Dir: fmt.Sprintf("%s/%d", cfg.Dir, i), WZRD: wzrd, WebhookURL: hooks[i].url}); err != nil {
			return err
		}
		defer programs[i].Kill()
		if err := programs[i].Start(ctx); err != nil {
			return err
		}
	}
	broken := []struct {
		name   string
		result string // as webhook_attempts_total has it
		answer http.HandlerFunc
	}{
		{"hangs", "timeout", hang},
		{"redirects", "redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.url, http.StatusTemporaryRedirect)
		}},
		{"answers 500", "http_5xx", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }},
	}
	final := map[string]session{}
	for kind, b := range broken {
		var answer http.Handler = b.answer
		hooks[0].broken.Store(&answer)
		var took [2][]time.Duration
		for i := range cfg.Payments {
			for turn := range 2 {
				at := (i + turn) % 2 // neither is always the first
				d, v, err := payment(ctx, programs[at], wzrd, fmt.Sprintf("endpoint-%d-%d-%d-%d", cfg.Seed, kind, i, at), &found)
				if err != nil {
					return errors.Join(fmt.Errorf("endpoint that %s: %w", b.name, err), found.err())
				}
				took[at] = append(took[at], d)
				if at == 0 {
					final[v.ID] = v
				}
			}
		}
		for at := range took {
			slices.Sort(took[at])
		}
		ill, well := took[0][len(took[0])/2], took[1][len(took[1])/2]
		cfg.Log("an endpoint that %s: payment to page p50 %.1f ms, slowest %.1f; beside one that is well %.1f and %.1f", b.name,
			ms(ill), ms(took[0][len(took[0])-1]), ms(well), ms(took[1][len(took[1])-1]))
		if ill > 3*well+250*time.Millisecond {
			found.add("payments slowed down", "beside an endpoint that %s: p50 %v, else %v", b.name, ill, well)
		}
		// Until then it was not asked: those before it hang for 10 s each.
		counted := `wzrdcheckout_webhook_attempts_total{result="` + b.result + `"}`
		if err := until(ctx, time.Minute, func() error {
			count, err := programs[0].metrics(ctx)
			if err == nil && (count[counted] == 0 || count["wzrdcheckout_webhook_pending"] == 0) {
				err = fmt.Errorf("%s is %v, %v webhooks wait", counted, count[counted], count["wzrdcheckout_webhook_pending"])
			}
			return err
		}); err != nil {
			found.add("not counted", "an endpoint that %s: %v", b.name, err)
		}
	}
	if n := hooks[0].requests.Load(); n == 0 {
		found.add("nothing was tried", "the broken endpoint was never asked")
	}
	strayed.Store(elsewhere.requests.Load())
	if n := strayed.Load(); n > 0 {
		found.add("redirects followed", "%d times", n)
	}
	hooks[0].broken.Store(nil)
	// The shop's own way to have the rest now; the schedule would come to it in minutes.
	events, err := programs[0].events(ctx)
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.State != "delivered" {
			if err := programs[0].insist(ctx, http.MethodPost, "http://"+programs[0].private+"/v1/events/"+e.ID+"/redeliver", MerchantKey, []byte("{}"), nil); err != nil {
				return fmt.Errorf("redeliver: %w", err)
			}
		}
	}
	arrived := func() error {
		for id := range final {
			have := map[string]bool{}
			for _, d := range hooks[0].of(id) {
				have[d.kind] = true
			}
			if !have["session.paid"] || !have["session.pending"] {
				return fmt.Errorf("session %s: the endpoint is well again and has %v", id, have)
			}
		}
		return nil
	}
	if err := until(ctx, time.Minute, arrived); err != nil {
		found.add("webhooks missing", "%v", err)
	}
	return found.err()
}

// payment pays one session, and gives how long it took from opening it to the page that shows "paid".
func payment(ctx context.Context, p *Program, wzrd *sandbox.Server, reference string, found *findings) (time.Duration, session, error) {
	began := time.Now()
	o, err := p.open(ctx, reference, "12.30", "USD")
	if err != nil {
		return 0, session{}, err
	}
	page := p.read(ctx, o.ID, o.Token, false, found)
	defer page.close()
	v, err := p.submit(ctx, o.Token, "payment_card_usd_hpp", nil, "")
	if err != nil || v.status != http.StatusCreated {
		return 0, session{}, fmt.Errorf("pay session %s: %d %s: %w", o.ID, v.status, v.Code, err)
	}
	if _, err := wzrd.Pay(reference); err != nil {
		return 0, session{}, fmt.Errorf("pay invoice: %w", err)
	}
	for end := began.Add(30 * time.Second); ; {
		if list := page.statuses(); len(list) > 0 && list[len(list)-1] == "paid" {
			break
		}
		if time.Now().After(end) {
			return 0, session{}, fmt.Errorf("session %s: the page was shown %v in 30 s", o.ID, page.statuses())
		}
		_ = pause(ctx, time.Millisecond)
	}
	took := time.Since(began)
	s, err := p.session(ctx, o.ID)
	return took, s, err
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
