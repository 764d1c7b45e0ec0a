package wzrd

import (
	"context"
	"strings"

	"wzrdcheckout/internal/checkout"
)

// Services gives one page of the account's services: GET /payment-services, private API.
// after and next as with Invoices.
// Source: WZRDPAY documentation, "Full List of Payment Services".
func (c *Client) Services(ctx context.Context, after string, limit int) (list []checkout.AccountService, next string, err error) {
	k := call{api: c.private, operation: "GET /payment-services", method: "GET", path: "/payment-services", read: true}
	return page(ctx, c, k, after, limit, services)
}

func services(k call, a answer) ([]checkout.AccountService, error) {
	data := a.doc.get("data")
	if data.kind() != '[' && data.kind() != '{' {
		return nil, k.unusable(a.status, codeUnusable, "the answer has no list")
	}
	list := []checkout.AccountService{}
	var failed error
	data.items(func(n node) {
		s, err := decodeAccountService(n)
		if err != nil && failed == nil {
			failed = k.unusable(a.status, codeUnusable, err.Error())
		}
		list = append(list, s)
	})
	if failed != nil {
		return nil, failed
	}
	return list, nil
}

// maxServicePages bounds the search for a code: the largest catalogue has 2,363 services.
const maxServicePages = 200

// Service gives one service by its "comcps_…" ID (GET /payment-services/{id}, private
// API) or, walking the list, by its code; of several with the code the one of the key's
// mode. It returns ErrNotFound when there is none.
// Source: WZRDPAY documentation, "Obtain Service Data by ID".
func (c *Client) Service(ctx context.Context, id string) (checkout.AccountService, error) {
	missing := &checkout.Error{Kind: checkout.ErrNotFound, Code: "not_found", Detail: "The account has no such service."}
	if strings.HasPrefix(id, "comcps_") && plainID(id) {
		k := call{api: c.private, operation: "GET /payment-services/{id}", method: "GET", path: "/payment-services/" + id, read: true}
		a, err := c.do(ctx, k)
		if err != nil {
			return checkout.AccountService{}, err
		}
		s, err := decodeAccountService(a.doc.get("data"))
		if err != nil {
			return checkout.AccountService{}, k.unusable(a.status, codeUnusable, err.Error())
		}
		return s, nil
	}
	if id == "" || len(id) > 128 {
		return checkout.AccountService{}, missing
	}
	var found *checkout.AccountService
	after := ""
	for range maxServicePages {
		list, next, err := c.Services(ctx, after, maxPage)
		if err != nil {
			return checkout.AccountService{}, err
		}
		for i := range list {
			if list[i].Service != id {
				continue
			}
			if list[i].TestMode == c.test() {
				return list[i], nil
			}
			if found == nil {
				found = &list[i]
			}
		}
		if next == "" {
			break
		}
		after = next
	}
	if found != nil {
		return *found, nil
	}
	return checkout.AccountService{}, missing
}

// preRequestBody is the body of POST /payment-prerequest.
type preRequestBody struct {
	PublicKey string `json:"public_key"`
	Currency  string `json:"currency"`
}

// fetchPreRequest asks WZRDPAY: POST /payment-prerequest, public API. It creates nothing,
// so it is repeated like a read.
// Source: WZRDPAY documentation, "Payment pre-request".
func (c *Client) fetchPreRequest(ctx context.Context, currency string) (checkout.PreRequest, error) {
	k := call{
		api: c.public, operation: "POST /payment-prerequest", method: "POST", path: "/payment-prerequest",
		body: preRequestBody{c.config.PublicKey, currency}, read: true,
	}
	a, err := c.do(ctx, k)
	if err != nil {
		return checkout.PreRequest{}, err
	}
	pre, mode, err := decodePreRequest(a.doc, currency)
	if err != nil {
		return checkout.PreRequest{}, k.unusable(a.status, codeUnusable, err.Error())
	}
	pre.TestMode = c.test()
	if test, said := mode.truth(); said && test != c.test() {
		return checkout.PreRequest{}, k.unusable(a.status, codeMode, "the answer is of the other mode than the key")
	}
	pre.FetchedAt = c.config.Now().Unix()
	pre.Version = version(pre)
	return pre, nil
}
