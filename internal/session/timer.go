package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"wzrdcheckout/internal/checkout"
)

// Timer does what is due for the session of a timer.<session id> key: finishes an
// attempt that was left behind, ends a session that is over, asks WZRDPAY about an
// invoice that stays silent, reads a final status again; then it sets the next one.
// It may be called more than once. An error means: again.
func (s *Service) Timer(ctx context.Context, key string, _ []byte) error {
	id := strings.TrimPrefix(key, "timer.")
	r, err := s.load(ctx, id, true)
	if errors.Is(err, checkout.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	now := s.now()
	var trouble error // WZRDPAY's; it is tried again a minute later
	if r.Claim != nil && !s.alive(now)(*r.Claim) && now >= r.Claim.Again {
		if _, err := s.resume(ctx, r); err != nil && !errors.Is(err, errStale) {
			// What is unknown was let go with its own next moment.
			s.cfg.Log.WarnContext(ctx, "attempt not finished", "session", id, "err", err)
		}
	}
	if r, err = s.current(ctx, id, true); err != nil {
		return err
	}
	for _, a := range r.Attempts {
		v := a.Invoice
		again := r.Reread != 0 && r.Reread <= now
		if v == nil || v.Final() && !again {
			continue
		}
		source := "refresh"
		if again {
			source = "reread"
		}
		switch _, err := s.ask(ctx, id, v.ID, source); {
		case errors.Is(err, checkout.ErrNotFound):
			s.cfg.Log.ErrorContext(ctx, "invoice unknown to WZRDPAY", "session", id, "invoice", v.ID)
			if again {
				if err := s.forget(ctx, id); err != nil {
					return err
				}
			}
		case err != nil:
			trouble = err
		}
	}
	return s.arm(ctx, id, trouble)
}

// forget ends the wish to read a final status again.
func (s *Service) forget(ctx context.Context, id string) error {
	_, err := s.mutate(ctx, id, func(r *record, _ int64) (bool, error) {
		changed := r.Reread != 0
		r.Reread = 0
		return changed, nil
	})
	return err
}

// retry is when the timer comes again after trouble with WZRDPAY.
const retry = 60

// arm sets the session's timer. A commit that moved it meanwhile is either seen by the
// reading after the write, and then put right, or comes after the write and stands.
func (s *Service) arm(ctx context.Context, id string, trouble error) error {
	for set := int64(0); ; {
		r, err := s.load(ctx, id, true)
		if err != nil {
			return err
		}
		now := s.now()
		at := wake(r, now)
		if due := r.Reread != 0 && r.Reread <= now; trouble != nil || due {
			if soon := now + retry; at == 0 || soon < at {
				at = soon
			}
		}
		if at == 0 || set != 0 && set <= at {
			return nil
		}
		if _, err := s.cfg.Store.Commit(ctx, r.timer(at)); err != nil {
			return fmt.Errorf("set timer: %w", err)
		}
		set = at
	}
}

// Sweep finishes, at start, attempts that dead processes left behind. What can not be
// finished now is left to its timer; WZRDPAY being down ends the sweep early.
func (s *Service) Sweep(ctx context.Context) error {
	mark := []byte(`"claim":{`)
	troubles := 0
	for after := uint64(0); ; {
		page, err := s.cfg.Store.List(ctx, "session.", after, 500)
		if err != nil {
			return fmt.Errorf("list sessions: %w", err)
		}
		for _, e := range page {
			after = e.Version
			if !bytes.Contains(e.Value, mark) {
				continue
			}
			r, err := s.load(ctx, strings.TrimPrefix(e.Key, "session."), true)
			if err != nil {
				return err
			}
			if r.Claim == nil || s.alive(s.now())(*r.Claim) {
				continue
			}
			if _, err := s.resume(ctx, r); err != nil && !errors.Is(err, errStale) {
				s.cfg.Log.WarnContext(ctx, "attempt not finished", "session", r.ID, "err", err)
				if troubles++; troubles == 5 {
					return nil
				}
			}
		}
		if len(page) == 0 {
			return nil
		}
	}
}

// Report is what a walk through WZRDPAY's list found.
type Report struct {
	Pages, Invoices int
	Applied         int // invoices that had news for a session
	Unheard         int // invoices that name a session of ours that has no such attempt, or that is not here
	Mismatched      int // invoices under our references that are not ours
}

const (
	walkPage = 100
	// walkPages bounds a walk: a million invoices.
	walkPages = 10_000
	// walkBack is how far a walk goes: the longest invoice lives 2 days, finds its end a
	// day later, and a walk may fail some nights.
	walkBack = 7 * 24 * 3600
	// walkOld ends the walk: the list is newest first as far as we know, but not by contract.
	walkOld = 3
)

// Reconcile walks WZRDPAY's list of invoices, the last week of it, applies what
// sessions have not heard, and reports invoices that name us and that we never made.
func (s *Service) Reconcile(ctx context.Context) (Report, error) {
	var sum Report
	seen := map[string]bool{}
	old := 0
	for after := ""; sum.Pages < walkPages && old < walkOld; {
		list, next, err := s.cfg.PSP.Invoices(ctx, after, walkPage)
		if err != nil {
			return sum, fmt.Errorf("list invoices: %w", err)
		}
		sum.Pages++
		recent := false
		for _, v := range list {
			sum.Invoices++
			recent = recent || v.Created == 0 || v.Created > s.now()-walkBack
			if err := s.walked(ctx, v, &sum); err != nil {
				return sum, err
			}
		}
		if old++; recent {
			old = 0
		}
		if next == "" || seen[next] {
			break
		}
		seen[next], after = true, next
	}
	s.cfg.Log.InfoContext(ctx, "list of invoices walked", "pages", sum.Pages, "invoices", sum.Invoices,
		"applied", sum.Applied, "unheard", sum.Unheard, "mismatched", sum.Mismatched)
	return sum, nil
}

func (s *Service) walked(ctx context.Context, v checkout.Invoice, sum *Report) error {
	if v.TestMode != s.cfg.TestMode {
		return nil
	}
	id, err := s.find(ctx, v)
	if err != nil {
		return err
	}
	outcome := "no_session"
	if id != "" {
		_, err = s.mutate(ctx, id, func(r *record, now int64) (bool, error) {
			outcome = r.observe(v, "walk", now)
			return outcome == applied, nil
		})
		if err != nil && !errors.Is(err, checkout.ErrNotFound) {
			return err
		}
	}
	switch {
	case outcome == same:
		return nil
	case outcome == applied:
		sum.Applied++
	case id == "" && v.SessionID == "":
		return nil // the account has other users
	case outcome == mismatch || outcome == otherInvoice:
		sum.Mismatched++
	default:
		sum.Unheard++
		outcome = "unheard"
	}
	s.cfg.Observer.Invoice("walk", outcome)
	s.cfg.Log.WarnContext(ctx, "invoice differs from what was heard", "session", id, "invoice", v.ID, "reference_id", v.ReferenceID, "status", clip(v.Status), "reason", outcome)
	return nil
}
