// Package sandbox is an emulator of WZRDPAY: the public and the private API,
// the hosted payment page, callbacks and their retries, and, on demand, every
// way in which such a service is late, wrong, doubled or silent. It keeps all
// state in memory, moves no money and refuses live keys unless told otherwise.
//
// It is written from the vendor's documents alone and imports the standard
// library only: never internal/wzrd nor internal/checkout, so that client and
// emulator are two independent readings which can disprove one another. Where
// the documents leave freedom it picks one documented form, and a knob in
// [Faults] picks the others, so that a client does not grow to fit it.
//
// # Addresses
//
//	<url>/public-api/…            public API (also <url>/api/public-api/…)
//	<url>/api/… and <url>/…       private API
//	<url>/redirect/hpp/?cpi=…     hosted page (also <url>/hpp/?cpi=…, and <url>/hpp/?public_key=… without an invoice)
//	<url>/hpp/cgi_…               the action of flow_data
//	<url>/static/…                logos and icons of the methods
//	<url>/_sandbox/…              control (its own port when Config.ControlListen is set)
//
// # Control
//
// All of it is JSON; an error is {"error":"…"}. In a process the methods of
// [Server] do the same.
//
//	GET    /_sandbox/                          what this is, addresses, counts per operation
//	GET    /_sandbox/history?op=&limit=        requests received, oldest first, without secrets
//	GET    /_sandbox/invoices                  every invoice, oldest first
//	GET    /_sandbox/invoices/{id}             one, by invoice ID or reference ID
//	POST   /_sandbox/invoices/{id}/{action}    pay | fail | expire | partial | refund | charge_back | verify | status
//	                                           body (optional): {"resolution","amount","status"}
//	GET    /_sandbox/faults                    the knobs
//	PUT    /_sandbox/faults?preset=&seed=      preset none or misbehaving; members in the body override it
//	POST   /_sandbox/faults/next               {"op","fault","times"}: the next calls of op get that fault
//	GET    /_sandbox/callbacks                 deliveries tried, oldest first
//	POST   /_sandbox/callbacks/resend          {"invoice":"cpi_…"}, or {} for all
//	POST   /_sandbox/callbacks/hold            queue callbacks and send none
//	POST   /_sandbox/callbacks/release         send what was held
//	POST   /_sandbox/reset                     forget invoices, history and deliveries; keep the knobs
//
// # Choices where the documents are silent
//
// A 422 names nested fields with dots ("service_fields.account_number"). An
// amount with more digits than its currency has is a 422. A second refund with
// the same reference is a 409. The cursor lists run from new to old. Service
// limits are compared only when the service's currency is the invoice's. The
// test method resolves by its status field as soon as the shopper arrives. On
// the hosted page the Fail button is final, a refused card is one of five
// attempts during which the invoice stays pending. A private create without
// test_mode asks for a live invoice, which the sandbox refuses (422) unless
// Config.AllowLive is set.
package sandbox
