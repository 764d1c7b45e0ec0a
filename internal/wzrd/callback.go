package wzrd

import (
	"crypto/sha1" //nolint:gosec // the vendor's signature is defined over SHA-1
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"wzrdcheckout/internal/checkout"
)

// Verifier checks the signature of callbacks: X-Signature is
// base64(SHA-1(secret + raw body + secret)) with the signing secret of the invoice's mode.
// Source: WZRDPAY documentation, "Callbacks". Safe for concurrent use.
type Verifier struct{ keys []signingKey }

type signingKey struct{ secret, mode string }

// NewVerifier takes the signing keys (sk_test_…, sk_live_…; several for a rotation) and
// refuses an empty list and any other form: without a key nothing may pass.
func NewVerifier(keys []Secret) (*Verifier, error) {
	if len(keys) == 0 {
		return nil, errors.New("WZRD_SIGNING_KEYS: is required")
	}
	v := &Verifier{}
	for _, k := range keys {
		mode := keyMode(string(k), "sk_")
		if mode == "" {
			return nil, errors.New("WZRD_SIGNING_KEYS: every key begins with sk_test_ or sk_live_")
		}
		v.keys = append(v.keys, signingKey{string(k), mode})
	}
	return v, nil
}

// Verify gives the mode ("test" or "live") of the key that signed the raw body, or
// ErrUnauthorized. Every key is tried and compared in constant time.
func (v *Verifier) Verify(body []byte, signature string) (mode string, err error) {
	given := []byte(strings.TrimSpace(signature))
	if len(given) == 0 {
		return "", &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "no_signature", Detail: "The callback carries no X-Signature."}
	}
	for _, k := range v.keys {
		if subtle.ConstantTimeCompare(given, sign(k.secret, body)) == 1 && mode == "" {
			mode = k.mode
		}
	}
	if mode == "" {
		return "", &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "bad_signature", Detail: "The callback's X-Signature fits none of the signing keys."}
	}
	return mode, nil
}

func sign(secret string, body []byte) []byte {
	h := sha1.New() //nolint:gosec // see above
	h.Write([]byte(secret))
	h.Write(body)
	h.Write([]byte(secret))
	return base64.StdEncoding.AppendEncode(nil, h.Sum(nil))
}

// ErrNoInvoice is for a signed JSON body that is no usable payment invoice (another object, or
// one without id, status, amount or currency). It is kept for the operator.
var ErrNoInvoice = errors.New("not a payment invoice")

// ParseCallback reads a callback's body, which has the shape of the private API's
// invoice. It returns ErrInvalid when the body is not JSON and ErrNoInvoice when it is
// something else. Redirect is always nil: where a shopper is sent is taken from answers
// of the API only.
func ParseCallback(body []byte) (checkout.Invoice, error) {
	doc, ok := parse(body)
	if !ok {
		return checkout.Invoice{}, &checkout.Error{Kind: checkout.ErrInvalid, Code: "not_json", Detail: "The callback's body is not JSON."}
	}
	raw, err := decodeInvoice(doc.get("data"))
	if err != nil {
		return checkout.Invoice{}, fmt.Errorf("%w: %w", ErrNoInvoice, err)
	}
	if !raw.isInvoice() {
		return checkout.Invoice{}, ErrNoInvoice
	}
	return raw.Invoice, nil
}
