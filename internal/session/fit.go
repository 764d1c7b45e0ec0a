package session

import (
	"context"
	"fmt"
	"strconv"

	"wzrdcheckout/internal/checkout"
)

// View is what a page shows: the session (without metadata), the services that fit it
// and their methods. Version changes exactly when the view does, so that whatever was
// rendered from it can be kept under (session id, Version). It is shared: do not change it.
type View struct {
	Session  checkout.Session
	Services []checkout.Service
	Methods  map[string]checkout.Method
	Account  checkout.Account
	Fixed    bool               // the merchant chose the service
	Redirect *checkout.Redirect // of the open invoice, nil = none
	Version  string
	Stale    bool // the services are the last good copy
}

type cachedView struct {
	version  uint64 // of the stored record
	services string // of the pre-request
	until    int64  // the session's own end
	view     View
}

// maxViews bounds the memory of views, about 2 kB each.
const maxViews = 10_000

// Checkout gives what the page shows of a session. A session that can not be paid any
// more has no services. ErrNotFound; an error of the pre-request when there is no copy.
func (s *Service) Checkout(ctx context.Context, id string) (View, error) {
	r, err := s.viewed(ctx, id)
	if err != nil {
		return View{}, err
	}
	if r.cached != nil && r.cached.services == "" {
		return r.cached.view, nil
	}
	currency := r.currency
	pre, err := s.preRequest(ctx, currency)
	if err != nil {
		return View{}, err
	}
	if r.cached != nil && r.cached.services == pre.Version && r.cached.view.Stale == pre.Stale {
		return r.cached.view, nil
	}
	if r.record == nil {
		if r.record, err = s.current(ctx, id, false); err != nil {
			return View{}, err
		}
	}
	v := View{Account: pre.Account, Fixed: r.record.Setup.Service != "", Stale: pre.Stale}
	v.Services, v.Methods = fit(r.record, pre)
	return s.remember(id, r.record, v, pre.Version), nil
}

// seen is a session on its way to a view: cached, or read.
type seen struct {
	cached   *cachedView
	record   *record
	currency string
}

// viewed finds the cached view of a session that has not changed, or reads the session.
// For one that can not be paid the view is complete.
func (s *Service) viewed(ctx context.Context, id string) (seen, error) {
	if !validID(id) {
		return seen{}, notFound("session")
	}
	e, err := s.cfg.Store.Get(ctx, sessionKey(id))
	if err == nil {
		s.mu.Lock()
		c, ok := s.views[id]
		s.mu.Unlock()
		if ok && c.version == e.Version && s.now() < c.until {
			return seen{cached: &c, currency: c.view.Session.Currency}, nil
		}
	}
	r, err := s.current(ctx, id, false)
	if err != nil {
		return seen{}, err
	}
	if r.Status.Payable() && !r.ended(s.now()) || r.Status == checkout.StatusCreating || r.Status == checkout.StatusPending {
		return seen{record: r, currency: r.Currency}, nil
	}
	view := s.remember(id, r, View{Services: []checkout.Service{}, Methods: map[string]checkout.Method{}, Fixed: r.Setup.Service != ""}, "")
	return seen{cached: &cachedView{view: view}}, nil
}

func (s *Service) remember(id string, r *record, v View, services string) View {
	v.Session = r.Session
	v.Session.Metadata = emptyObject
	if latest := r.latest(); latest != nil && latest.Outcome() == checkout.StatusPending {
		v.Redirect = latest.Redirect
	}
	v.Version = strconv.FormatInt(r.Revision, 10) + "-" + services
	if v.Stale {
		v.Version += "-stale"
	}
	until := r.end()
	if s.now() >= until {
		until = 1 << 62
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.views) >= maxViews {
		for old := range s.views { // any will do: it is made again when it is asked for
			delete(s.views, old)
			break
		}
	}
	if r.version != 0 {
		s.views[id] = cachedView{version: r.version, services: services, until: until, view: v}
	}
	return v
}

func (s *Service) preRequest(ctx context.Context, currency string) (checkout.PreRequest, error) {
	pre, err := s.cfg.PSP.PreRequest(ctx, currency)
	if err != nil {
		return pre, fmt.Errorf("read services: %w", err)
	}
	if pre.TestMode != s.cfg.TestMode {
		return pre, &checkout.Error{Kind: checkout.ErrUpstream, Code: "wrong_mode", Detail: "WZRDPAY answered in the " + modeName(pre.TestMode) + " mode"}
	}
	return pre, nil
}

// fit gives the services that can pay this session, and their methods:
//
//   - the one the merchant fixed, else those of the merchant's list in its order, else
//     all in the pre-request's order;
//   - without those whose method is hidden;
//   - within their limits, both inclusive, which are in the service's own currency and
//     so say something only when that is the session's.
func fit(r *record, pre checkout.PreRequest) ([]checkout.Service, map[string]checkout.Method) {
	services := []checkout.Service{}
	methods := map[string]checkout.Method{}
	add := func(v checkout.Service) {
		m, ok := pre.Methods[v.Method]
		if ok && m.Hide || !within(r, v) {
			return
		}
		services = append(services, v)
		if ok {
			methods[v.Method] = m
		}
	}
	list := r.Setup.Services
	if r.Setup.Service != "" {
		list = []string{r.Setup.Service}
	}
	if list == nil {
		for _, v := range pre.Services {
			add(v)
		}
		return services, methods
	}
	byCode := make(map[string]checkout.Service, len(pre.Services))
	for _, v := range pre.Services {
		byCode[v.Code] = v
	}
	for _, code := range list {
		if v, ok := byCode[code]; ok {
			add(v)
		}
	}
	return services, methods
}

func within(r *record, v checkout.Service) bool {
	if v.Currency != r.Currency {
		return true
	}
	return (v.AmountMin == nil || r.Amount.Compare(*v.AmountMin) >= 0) &&
		(v.AmountMax == nil || r.Amount.Compare(*v.AmountMax) <= 0)
}
