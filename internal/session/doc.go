// Package session holds the rules of a checkout session: opening one, its tokens, the
// services that fit it, one payment attempt at a time, what WZRDPAY's observations make
// of it, and when to look at it again. It knows nothing of HTTP or NATS; it declares the
// Store and the PSP that it needs and imports checkout, fields and golang-jwt.
//
// One attempt makes at most one invoice. That rests on four things and on no lock:
//
//   - The attempt (number, reference, service, amount, fields) is on disk, claimed by
//     compare-and-set, before WZRDPAY hears of it.
//   - An attempt never changes its reference, and WZRDPAY refuses a second invoice under
//     one reference. So asking again is safe, and whoever asks again looks first.
//   - After an outcome that is not known, the attempt is finished (looked up, adopted,
//     or created again under the same reference); it is never taken back.
//   - What is found is compared (amount, currency, service, mode, session) before it is
//     adopted, because a public key is public: anyone can make an invoice.
//
// Decisions are pure functions of (record, now): decide, observe, wake, fit, Derive. The
// acting edge around them reads, calls and commits; a stale commit is decided anew.
package session
