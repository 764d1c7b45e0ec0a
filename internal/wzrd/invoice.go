package wzrd

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"wzrdcheckout/internal/checkout"
)

// privateInvoice is the body of the private create: JSON:API, attributes as documented.
type privateInvoice struct {
	Data struct {
		Type       string            `json:"type"`
		Attributes invoiceAttributes `json:"attributes"`
	} `json:"data"`
}

type invoiceAttributes struct {
	ReferenceID    string               `json:"reference_id,omitempty"`
	Amount         checkout.Amount      `json:"amount"`
	Currency       string               `json:"currency"`
	Service        string               `json:"service"`
	ServiceFields  map[string]string    `json:"service_fields,omitempty"`
	Flow           string               `json:"flow,omitempty"`
	TestMode       bool                 `json:"test_mode"`
	Description    string               `json:"description,omitempty"`
	Customer       checkout.JSON        `json:"customer,omitempty"`
	Metadata       checkout.JSON        `json:"metadata,omitempty"`
	ReturnURL      string               `json:"return_url,omitempty"`
	ReturnURLs     *checkout.ReturnURLs `json:"return_urls,omitempty"`
	CallbackURL    string               `json:"callback_url,omitempty"`
	GatewayOptions checkout.JSON        `json:"gateway_options,omitempty"`
	Options        checkout.JSON        `json:"options,omitempty"`
	Expires        string               `json:"expires,omitempty"`
}

// publicInvoice is the body of the public create: flat. Of the private one's extras only
// description is documented; service fields and metadata are what public clients send.
type publicInvoice struct {
	PublicKey     string            `json:"public_key"`
	ReferenceID   string            `json:"reference_id,omitempty"`
	Service       string            `json:"service"`
	Currency      string            `json:"currency"`
	Amount        checkout.Amount   `json:"amount"`
	Description   string            `json:"description,omitempty"`
	ServiceFields map[string]string `json:"service_fields,omitempty"`
	Metadata      checkout.JSON     `json:"metadata,omitempty"`
}

// CreateInvoice asks for an invoice by the private API: POST /payment-invoices. It is
// sent once; whether it may be sent again is for the caller to decide by the error's
// directive. test_mode goes by the key's mode. An invoice that exists but gives no usable
// way to pay comes back together with an error "no_redirect" or "redirect_refused".
// Source: WZRDPAY documentation, "Invoice Initiation", "Via Private API".
func (c *Client) CreateInvoice(ctx context.Context, r checkout.InvoiceRequest) (checkout.Invoice, error) {
	var body privateInvoice
	body.Data.Type = "payment-invoices"
	body.Data.Attributes = invoiceAttributes{
		ReferenceID: r.ReferenceID, Amount: r.Amount, Currency: r.Currency, Service: r.Service, ServiceFields: r.ServiceFields,
		Flow: r.Flow, TestMode: c.test(), Description: r.Description, Customer: r.Customer, Metadata: r.Metadata,
		ReturnURL: r.ReturnURL, ReturnURLs: r.ReturnURLs, CallbackURL: r.CallbackURL, GatewayOptions: r.GatewayOptions, Options: r.Options,
	}
	if r.Expires != 0 {
		body.Data.Attributes.Expires = time.Unix(r.Expires, 0).UTC().Format("2006-01-02T15:04:05-07:00")
	}
	k := call{api: c.private, operation: "POST /payment-invoices", method: "POST", path: "/payment-invoices", body: body}
	return c.create(ctx, k, r.ReferenceID)
}

// CreateInvoicePublic asks for an invoice by the public API: POST /payment-invoices with
// the public key. As CreateInvoice; return addresses, customer, expiry and callback
// address are not the public API's to take.
// Source: WZRDPAY documentation, "Invoice Initiation", "Via Public API".
func (c *Client) CreateInvoicePublic(ctx context.Context, r checkout.InvoiceRequest) (checkout.Invoice, error) {
	body := publicInvoice{
		PublicKey: c.config.PublicKey, ReferenceID: r.ReferenceID, Service: r.Service, Currency: r.Currency, Amount: r.Amount,
		Description: r.Description, ServiceFields: r.ServiceFields, Metadata: r.Metadata,
	}
	k := call{api: c.public, operation: "POST /public-api/payment-invoices", method: "POST", path: "/payment-invoices", body: body}
	return c.create(ctx, k, r.ReferenceID)
}

func (c *Client) create(ctx context.Context, k call, reference string) (checkout.Invoice, error) {
	a, err := c.do(ctx, k)
	if err != nil {
		return checkout.Invoice{}, err
	}
	v, offered, err := c.invoice(k, a, a.doc.get("data"))
	switch {
	case err != nil:
		return checkout.Invoice{}, err
	case reference != "" && v.ReferenceID != "" && v.ReferenceID != reference:
		return checkout.Invoice{}, k.unusable(a.status, codeRefDiffers, "the invoice carries another reference ID than asked for")
	case v.Redirect != nil || v.Final() || v.Outcome().Settled():
		return v, nil
	case offered:
		return v, k.unusable(a.status, codeRefused, "the invoice sends the shopper to an address that is not allowed")
	}
	return v, k.unusable(a.status, codeNoRedirect, "the invoice has neither hpp_url nor flow_data")
}

// invoice decodes one invoice of an answer and judges its ways to pay.
func (c *Client) invoice(k call, a answer, data node) (v checkout.Invoice, offered bool, err error) {
	if data.kind() == '[' { // a list of one, where one was asked for
		var only node
		data.items(func(n node) {
			if only == nil {
				only = n
			}
		})
		data = only
	}
	w, err := decodeInvoice(data)
	if err != nil {
		return v, false, k.unusable(a.status, codeUnusable, err.Error())
	}
	if w.kind != "" && !w.isInvoice() {
		return v, false, k.unusable(a.status, codeUnusable, "the answer is no payment invoice")
	}
	w.Redirect, offered = c.to.of(w)
	return w.Invoice, offered, nil
}

// Invoice asks for an invoice by its ID: GET /payment-invoices/{id}, private API. It
// returns ErrNotFound when WZRDPAY does not know it. Redirect may be nil.
// Source: WZRDPAY documentation, "Reconciliation by ID".
func (c *Client) Invoice(ctx context.Context, id string) (checkout.Invoice, error) {
	return c.byID(ctx, c.private, "GET /payment-invoices/{id}", id, "")
}

// InvoicePublic is Invoice by the public API, whose view has no updated time (created
// stands in). The documents want the public key with a GET and do not say where; it goes
// into the query.
func (c *Client) InvoicePublic(ctx context.Context, id string) (checkout.Invoice, error) {
	return c.byID(ctx, c.public, "GET /public-api/payment-invoices/{id}", id, url.Values{"public_key": {c.config.PublicKey}}.Encode())
}

func (c *Client) byID(ctx context.Context, on *api, operation, id, query string) (checkout.Invoice, error) {
	if !plainID(id) {
		return checkout.Invoice{}, &checkout.Error{Kind: checkout.ErrNotFound, Code: "not_found", Detail: "There is no such invoice."}
	}
	k := call{api: on, operation: operation, method: "GET", path: "/payment-invoices/" + url.PathEscape(id), query: query, read: true}
	a, err := c.do(ctx, k)
	if err != nil {
		return checkout.Invoice{}, err
	}
	v, _, err := c.invoice(k, a, a.doc.get("data"))
	if err != nil {
		return checkout.Invoice{}, err
	}
	if v.ID != id {
		return checkout.Invoice{}, k.unusable(a.status, codeUnusable, "the answer is another invoice")
	}
	return v, nil
}

// plainID keeps what could not be an ID of the vendor's out of a path: "..", "", a slash.
func plainID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// maxReferencePages bounds the search when a page holds other references than asked for.
const maxReferencePages = 5

// InvoiceByReference asks for the invoice with exactly this reference ID: GET
// /payment-invoices?filter[reference_id]=…, private API. The documents show one object,
// the path means a list; both are read. ErrNotFound only when WZRDPAY said so: a 404, or
// a list to its end without the reference. Of several the one that money moved on wins,
// then one still under way, then the newest.
func (c *Client) InvoiceByReference(ctx context.Context, reference string) (checkout.Invoice, error) {
	k := call{
		api: c.private, operation: "GET /payment-invoices?filter[reference_id]", method: "GET", path: "/payment-invoices",
		query: url.Values{"filter[reference_id]": {reference}}.Encode(), read: true,
	}
	missing := &checkout.UpstreamError{
		Operation: k.operation, Status: 200, Code: "not_found", Detail: "no invoice has this reference ID",
		Directive: checkout.NotCreated, Kind: checkout.ErrNotFound,
	}
	if reference == "" {
		return checkout.Invoice{}, missing
	}
	at := cursor{query: k.query}
	for range maxReferencePages {
		a, err := c.do(ctx, k)
		if err != nil {
			return checkout.Invoice{}, err
		}
		list, err := c.invoices(k, a)
		if err != nil {
			return checkout.Invoice{}, err
		}
		list = slices.DeleteFunc(list, func(v checkout.Invoice) bool { return v.ReferenceID != reference })
		if len(list) > 0 {
			return slices.MaxFunc(list, c.nearer), nil
		}
		next, err := at.next(k, a)
		if err != nil {
			return checkout.Invoice{}, err
		}
		if next.query == "" {
			return checkout.Invoice{}, missing
		}
		at, k.query = next, next.query
	}
	return checkout.Invoice{}, k.unusable(200, codeUnusable, "the list is not filtered by reference ID")
}

func (c *Client) nearer(a, b checkout.Invoice) int {
	rank := func(v checkout.Invoice) int64 {
		r := int64(0)
		if v.TestMode == c.test() {
			r += 4
		}
		switch {
		case v.Outcome().Settled():
			r += 2
		case !v.Final():
			r++
		}
		return r
	}
	if d := rank(a) - rank(b); d != 0 {
		return int(d)
	}
	switch {
	case a.Created != b.Created:
		return int(min(max(a.Created-b.Created, -1), 1))
	default:
		return strings.Compare(a.ID, b.ID)
	}
}

// invoices decodes data as a list, or as the one object that the documents' sample shows.
// A row that can not be read fails the whole: a list with holes would hide an invoice.
func (c *Client) invoices(k call, a answer) ([]checkout.Invoice, error) {
	data := a.doc.get("data")
	list := []checkout.Invoice{}
	var failed error
	row := func(n node) {
		if failed != nil {
			return
		}
		v, _, err := c.invoice(k, a, n)
		if err != nil {
			failed = err
			return
		}
		list = append(list, v)
	}
	switch {
	case data.kind() == '[':
		data.items(row)
	case data.kind() == '{' && data.get("id").some():
		row(data)
	case data.kind() == '{':
		data.items(row)
	case !data.some() && a.doc.get("data") != nil: // null: nothing there
	default:
		failed = k.unusable(a.status, codeUnusable, "the answer has no list")
	}
	if failed != nil {
		return nil, failed
	}
	return list, nil
}

// Invoices gives one page of all invoices as WZRDPAY lists them: GET /payment-invoices,
// private API. after is "" or what an earlier call gave as next; next is "" at the end.
// limit is a wish that bounds the answer. ErrInvalid names after when it is none of ours.
// Source: WZRDPAY documentation, "Get the Full List of Payment Invoices".
func (c *Client) Invoices(ctx context.Context, after string, limit int) (list []checkout.Invoice, next string, err error) {
	k := call{api: c.private, operation: "GET /payment-invoices", method: "GET", path: "/payment-invoices", read: true}
	return page(ctx, c, k, after, limit, c.invoices)
}

// PaymentForm gives the HTML form that creates an invoice and sends the shopper on to
// pay: action, method and the inputs' names and values. Whoever fills it in can change
// it, so the amount must be checked afterwards.
// Source: WZRDPAY documentation, "Submitting HTML Form data".
func (c *Client) PaymentForm(r checkout.InvoiceRequest) (action, method string, fields map[string]string) {
	fields = map[string]string{
		"public_key": c.config.PublicKey, "service": r.Service, "currency": r.Currency, "amount": r.Amount.String(),
	}
	for name, value := range map[string]string{"reference_id": r.ReferenceID, "description": r.Description, "return_url": r.ReturnURL} {
		if value != "" {
			fields[name] = value
		}
	}
	for key, value := range r.ServiceFields {
		fields["service_fields["+key+"]"] = value
	}
	for name, value := range map[string]checkout.JSON{"customer": r.Customer, "metadata": r.Metadata} {
		if doc, ok := parse(value); ok && doc.kind() == '{' {
			flatten(doc, name, fields)
		}
	}
	return c.config.PublicAPI + "/payment-invoices/process", "POST", fields
}
