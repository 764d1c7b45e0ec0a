package sandbox

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// invoice is one payment invoice. Server.mu guards all of it.
type invoice struct {
	id, serial, ref  string
	test             bool
	source           string
	service          *service
	currency         string
	amount           *big.Rat
	rate             *big.Rat // service currency per invoice currency
	serviceAmount    *big.Rat
	description      *string
	flow             string // charge or verify
	fields           map[string]string
	metadata         object
	options          object
	gatewayOptions   object
	customer         *customer
	returnURL        string
	returnURLs       map[string]string // success, pending, fail; nil when none was sent
	callbackURL      string
	base             string // as the creating request saw this server
	sid, token       string
	clientIP         string
	payToken         string // payment ID
	created, updated int64
	expires          time.Time
	timer            *time.Timer

	status, resolution             string
	processedAt, failedAt          int64
	refundedAt, chargedBackAt      int64
	processed, refunded, chargedBk *big.Rat
	refunds                        []object
	attempts                       int
	card                           *usedCard // the last card used
	challenge                      *usedCard // waits for the 3-D Secure page
	note                           string    // what the hosted page says about the last attempt

	logs []callbackLog
	sender
}

type customer struct {
	id         string
	ref        string
	attributes object
}

type callbackLog struct {
	key       int64
	status    string
	processed int64
	code      int
	about     string
}

// Statuses by what they mean for the shopper.
var (
	pendingStatuses = []string{"created", "processing", "process_pending", "process_error"}
	paidStatuses    = []string{"processed", "partially_processed", "verified", "refunding", "refund_pending", "refund_error", "refund_failed", "partially_refunded", "refunded", "charged_back", "partially_charged_back"}
	interimStatuses = append([]string{"refunding", "refund_pending", "refund_error"}, pendingStatuses...)
)

func (inv *invoice) pending() bool { return slices.Contains(pendingStatuses, inv.status) }

// outcome is success, fail or pending, as return_urls has it.
func (inv *invoice) outcome() string {
	switch {
	case inv.pending(), inv.status == "partially_processed":
		return "pending"
	case slices.Contains(paidStatuses, inv.status):
		return "success"
	}
	return "fail"
}

// returnTo is where the shopper goes now, "" for the sandbox's own result page.
func (inv *invoice) returnTo() string {
	to := inv.returnURL
	if inv.returnURLs != nil {
		if to = inv.returnURLs[inv.outcome()]; to == "" {
			to = inv.returnURLs["pending"]
		}
	}
	if to == "" || inv.options["send_operation_context_on_return"] != true {
		return to
	}
	u, err := url.Parse(to)
	if err != nil {
		return to
	}
	q := u.Query()
	for k, v := range map[string]string{
		"id": inv.id, "serial_number": inv.serial, "reference_id": inv.ref,
		"amount": plain(inv.amount), "currency": inv.currency, "status": inv.status,
	} {
		q.Set(k, v)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func (inv *invoice) hppURL() string { return inv.base + "/redirect/hpp/?cpi=" + inv.id }

// flowData is how to reach the payment page without hpp_url. For invoice and
// transfer services the vendor documents nothing; there it has payment details
// and no action, so only hpp_url leads on.
func (inv *invoice) flowData() object {
	meta := object{"sid": inv.sid, "token": inv.token}
	switch inv.service.Flow {
	case "invoice", "transfer":
		return object{"beneficiary": "Sandbox Payments Ltd", "account_number": "XX00SANDBOX" + inv.serial, "purpose": "Invoice " + inv.serial, "metadata": meta}
	}
	out := object{"action": inv.base + "/hpp/" + inv.sid, "method": "GET", "params": phpMap(nil), "metadata": meta}
	if inv.service.Redirect == "POST" {
		out["method"] = "POST"
		out["params"] = object{"session": inv.sid, "invoice": inv.serial, "locale": "en"}
	}
	return out
}

// stamp is a time that is null until it is reached.
func stamp(t int64) any {
	if t == 0 {
		return nil
	}
	return t
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func textOrNull(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

func cloneMap(m object) object {
	out := object{}
	for k, v := range m {
		out[k] = cloneValue(v)
	}
	return out
}

// cloneValue copies what a merchant sent, so that the faults of one answer
// stay in that answer.
func cloneValue(v any) any {
	switch t := v.(type) {
	case map[string]any:
		return cloneMap(t)
	case []any:
		out := make([]any, len(t))
		for i, e := range t {
			out[i] = cloneValue(e)
		}
		return out
	}
	return v
}

// publicView is the flat shape; withURL adds hpp_url, which only the answer
// to a creation has.
func (inv *invoice) publicView(withURL bool) object {
	active := "invoked"
	if !inv.pending() {
		active = inv.status
	}
	out := object{
		"id": inv.id, "serial_number": inv.serial, "created": inv.created, "test_mode": inv.test,
		"reference_id": inv.ref, "currency": inv.currency, "amount": moneyOf(inv.amount),
		"payment_amount": moneyOf(inv.amount), "processed_amount": moneyOf(inv.processed), "refunded_amount": moneyOf(inv.refunded),
		"description": textOrNull(inv.description), "has_return_url": inv.returnURL != "" || inv.returnURLs != nil,
		"status": inv.status, "resolution": publicCase(inv.resolution),
		"service": inv.service.Code, "service_method": inv.service.Method, "service_flow": inv.service.Flow,
		"service_currency": inv.service.Currency, "metadata": cloneMap(inv.metadata),
		"active_payment": object{"payload": inv.flowData(), "status": active, "resolution": publicCase(inv.resolution)},
	}
	if withURL {
		out["hpp_url"] = inv.hppURL()
	}
	return out
}

// publicCase is how the public API writes the good resolution.
func publicCase(resolution string) string {
	if resolution == "ok" {
		return "OK"
	}
	return resolution
}

// viewOptions choose between the key sets of the vendor's samples.
type viewOptions struct {
	withURL bool // the answer to a creation
	newer   bool // the captured callback of 2024 and later: more keys
}

// privateView is the JSON:API resource.
func (inv *invoice) privateView(o viewOptions) object {
	var processedFee any
	if inv.processed != nil {
		processedFee = money("0")
	}
	a := object{
		"serial_number": inv.serial, "status": inv.status, "resolution": inv.resolution, "moderation_required": false,
		"amount": moneyOf(inv.amount), "payment_amount": moneyOf(inv.amount), "currency": inv.currency,
		"service_currency": inv.service.Currency, "reference_id": inv.ref, "test_mode": inv.test,
		"fee": money("0"), "deposit": moneyOf(inv.amount), "processed": stamp(inv.processedAt),
		"processed_amount": moneyOf(inv.processed), "refunded_amount": moneyOf(inv.refunded),
		"processed_fee": processedFee, "processed_deposit": moneyOf(inv.processed),
		"metadata": cloneMap(inv.metadata), "flow_data": inv.flowData(), "flow": inv.service.Flow, "payment_flow": inv.flow,
		"created": inv.created, "updated": inv.updated, "payload": inv.payload(o.newer),
		"description": textOrNull(inv.description), "descriptor": nil,
		"callback_url": orNull(inv.callbackURL), "return_url": orNull(inv.returnURL),
		"original_data": inv.originalData(), "rrn": nil, "approval_code": nil, "reserved_amount": nil,
		"reserve_expires": nil, "unreserved": nil, "source": inv.source, "callback_logs": inv.logView(),
	}
	if o.withURL || o.newer {
		a["hpp_url"] = inv.hppURL()
	}
	rel := object{
		"payment-service": object{"data": object{"type": "payment-services", "id": inv.service.Code}},
		"payment-method":  object{"data": object{"type": "payment-methods", "id": inv.service.Method}},
	}
	if inv.customer != nil {
		rel["customer"] = object{"data": object{"type": "customers", "id": inv.customer.id}}
	}
	if o.newer {
		inv.addNewer(a, rel)
	}
	return object{
		"type": "payment-invoices", "id": inv.id, "attributes": a, "relationships": rel,
		"links": object{"self": "/api/payment-invoices/" + inv.id},
	}
}

// addNewer adds what the 2020 samples lack.
func (inv *invoice) addNewer(a, rel object) {
	var urls any
	if inv.returnURLs != nil {
		urls = textsOf(inv.returnURLs)
	}
	refunds := []any{}
	for _, r := range inv.refunds {
		refunds = append(refunds, cloneMap(r))
	}
	var refundedFee any
	if inv.refunded != nil {
		refundedFee = money("0")
	}
	delete(a, "serial_number")
	for k, v := range (object{
		"resolution_message": nil, "service_amount": moneyOf(inv.serviceAmount), "payment_service_amount": moneyOf(inv.serviceAmount),
		"exchange_rate": moneyOf(inv.rate), "refunded": stamp(inv.refundedAt), "refunded_fee": refundedFee,
		"failed": stamp(inv.failedAt), "charged_back": stamp(inv.chargedBackAt), "charged_back_amount": moneyOf(inv.chargedBk),
		"return_urls": urls, "arn": nil, "refunds": refunds, "reserves": []any{}, "reserve_options": nil,
		"processed_unreserve": nil, "processed_reserve_cancel": nil, "reserve_cancelled": nil,
		"original_data": object{"original_resolution": inv.resolution, "original_resolution_message": nil},
	}) {
		a[k] = v
	}
	rel["active-payment"] = object{"data": object{"type": "payments", "id": inv.payToken}}
}

// callbackBody is the private resource and what it relates to.
func (inv *invoice) callbackBody(account string) object {
	body := object{"data": inv.privateView(viewOptions{newer: true})}
	if c := inv.customer; c != nil {
		body["included"] = []any{object{
			"type": "customers", "id": c.id, "attributes": cloneMap(c.attributes),
			"relationships": object{"commerce-account": object{"data": object{"type": "commerce-accounts", "id": account}}},
		}}
	} else {
		body["included"] = []any{}
	}
	return body
}

func (inv *invoice) originalData() object {
	o := object{"external_id": nil, "merchant_id": nil, "provider_id": nil, "external_mid": "org_" + stableID(inv.service.Code), "provider_code": nil}
	if inv.card != nil || inv.processedAt != 0 {
		o["external_id"], o["merchant_id"], o["provider_code"] = inv.sid, "sandboxMerchant", "test"
	}
	return o
}

// payload is what became known of the payer's means.
func (inv *invoice) payload(newer bool) any {
	if inv.card == nil {
		return nil
	}
	out := object{"token": nil, "client_ip": inv.clientIP, "payment_card": inv.card.view(newer)}
	if newer {
		out["auth_type"] = "card"
	}
	return out
}

func (inv *invoice) logView() any {
	out := object{}
	for _, l := range inv.logs {
		out[strconv.FormatInt(l.key, 10)] = object{
			"status": l.status, "processed": stamp(l.processed), "response_code": l.code, "transaction_status": l.about,
		}
	}
	return phpMap(out)
}

// randomID makes n letters and digits that nobody guesses.
func randomID(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	out := make([]byte, 0, n)
	var b [32]byte
	for {
		rand.Read(b[:])
		for _, c := range b {
			if int(c) < 256-256%len(letters) {
				if out = append(out, letters[int(c)%len(letters)]); len(out) == n {
					return string(out)
				}
			}
		}
	}
}

// randomUUID is the reference that the API makes up when none was sent.
func randomUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// sessionToken looks like the card gateway's JWT. It is good for nothing but
// to be kept from the page.
func sessionToken(secret, sid string, expires int64) string {
	part := func(v any) string {
		b, _ := json.Marshal(v) // two strings and a number always encode
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(object{"typ": "JWT", "alg": "HS256"}) + "." + part(object{"sid": sid, "exp": expires})
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// setStatusLocked is the only way a status changes: it stamps times and queues
// the callback.
func (s *Server) setStatusLocked(inv *invoice, status, resolution string) {
	now := s.now().Unix()
	inv.status, inv.resolution, inv.updated = status, resolution, now
	switch status {
	case "processed", "partially_processed", "verified":
		inv.processedAt, inv.failedAt = now, 0
	case "refunded", "partially_refunded":
		inv.refundedAt = now
	case "charged_back", "partially_charged_back":
		inv.chargedBackAt = now
	default:
		if inv.outcome() == "fail" {
			inv.failedAt = now
		}
	}
	if !inv.pending() {
		inv.challenge, inv.note = nil, ""
		if inv.timer != nil {
			inv.timer.Stop()
			inv.timer = nil
		}
	}
	s.log.Info("sandbox invoice", "invoice", inv.id, "reference_id", inv.ref, "status", status, "resolution", resolution)
	if s.cfg.FinalCallbacksOnly && slices.Contains(interimStatuses, status) {
		return
	}
	s.queueCallbackLocked(inv, false)
}

// payLocked makes inv paid; amount nil means in full.
func (s *Server) payLocked(inv *invoice, amount *big.Rat) {
	if inv.flow == "verify" {
		s.setStatusLocked(inv, "verified", "ok")
		return
	}
	status := "processed"
	if amount == nil {
		amount = inv.amount
	} else if amount.Cmp(inv.amount) < 0 {
		status = "partially_processed"
	}
	inv.processed = amount
	s.setStatusLocked(inv, status, "ok")
}

// failLocked ends inv without payment.
func (s *Server) failLocked(inv *invoice, resolution string) {
	status := "process_failed"
	if inv.flow == "verify" {
		status = "verify_failed"
	}
	s.setStatusLocked(inv, status, resolution)
}

// refundLocked records a refund of amount, which the caller has checked.
func (s *Server) refundLocked(inv *invoice, amount *big.Rat, ref string, description *string) object {
	now := s.now().Unix()
	r := object{
		"id":   "ref_" + randomID(16),
		"type": "refunds",
		"attributes": object{
			"serial_number": "", "reference_id": ref, "status": "refunded", "resolution": "ok", "amount": moneyOf(amount),
			"currency": inv.currency, "description": textOrNull(description), "test_mode": inv.test, "created": now, "updated": now, "processed": now,
		},
		"relationships": object{"payment-invoice": object{"data": object{"type": "payment-invoices", "id": inv.id}}},
	}
	r["attributes"].(object)["serial_number"] = r["id"].(string)[len("ref_"):]
	r["links"] = object{"self": "/api/refunds/" + r["id"].(string)}
	if inv.refunded == nil {
		inv.refunded = new(big.Rat)
	}
	inv.refunded = new(big.Rat).Add(inv.refunded, amount)
	inv.refunds = append(inv.refunds, r)
	status := "partially_refunded"
	if inv.refunded.Cmp(inv.processed) >= 0 {
		status = "refunded"
	}
	s.setStatusLocked(inv, status, "ok")
	return r
}

// refundable is what may still be refunded; nil when nothing was paid or the
// state forbids it.
func (inv *invoice) refundable() *big.Rat {
	switch inv.status {
	case "processed", "partially_processed", "partially_refunded", "refund_failed":
	default:
		return nil
	}
	if inv.processed == nil {
		return nil
	}
	left := new(big.Rat).Set(inv.processed)
	if inv.refunded != nil {
		left.Sub(left, inv.refunded)
	}
	if left.Sign() <= 0 {
		return nil
	}
	return left
}

// expireLocked ends inv when its time is over on the server's clock.
func (s *Server) expireLocked(inv *invoice) {
	if !inv.pending() || s.now().Before(inv.expires) {
		return
	}
	s.expireNowLocked(inv)
}

func (s *Server) expireNowLocked(inv *invoice) {
	status := "process_failed"
	if inv.flow == "verify" {
		status = "verify_failed"
	}
	if s.rollLocked("expire", inv.ref).has(FaultExpiredStatus) {
		status = "expired"
	}
	s.setStatusLocked(inv, status, "expired")
}

// watchLocked sets the timer that expires inv. The timer runs on real time and
// the invoice on the server's clock, so it looks again until both agree.
func (s *Server) watchLocked(inv *invoice) {
	if s.closed || !inv.pending() {
		return
	}
	wait := max(inv.expires.Sub(s.now()), 10*time.Millisecond)
	inv.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed || s.invoices[inv.id] != inv {
			return
		}
		s.expireLocked(inv)
		s.watchLocked(inv)
	})
}
