package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"wzrdcheckout/internal/sandbox"
	"wzrdcheckout/soak/ordeal"
)

// The program is killed with -9 as soon as it has answered the callback of the payment
// with 200, mostly before it could tell the page. Started again, it tells the open page,
// which was never reloaded.
func TestKilledAfterTheCallback(t *testing.T) {
	t.Parallel()
	wzrd, err := sandbox.New(sandbox.Config{CallbackRetry: 100 * time.Millisecond, EveryCallback: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := wzrd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = wzrd.Stop(context.WithoutCancel(t.Context())) })
	p, err := ordeal.NewProgram(ordeal.Settings{Bin: bff(t), Dir: t.TempDir(), WZRD: wzrd})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := open(t)
	for _, part := range []string{"net::ERR", "WebSocket", "Failed to load resource"} {
		b.expect(part) // the browser says that nobody answered for a while
	}
	untold := 0
	for round := range 3 {
		b.visit(openAt(t, p, "killed-"+strconv.Itoa(round)))
		b.await("the widget to take over", live)
		b.click(row(card))
		b.click(button)
		b.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
		b.click("#pending")
		b.await("the page to wait", state("pending")+"||"+state("checking"))
		evaluate[bool](b, "window.sameDocument = true")

		list := wzrd.Invoices()
		id := list[len(list)-1].ID
		if _, err := wzrd.Pay(id); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(patience); !answered(wzrd, id); {
			if time.Now().After(end) {
				t.Fatal("the callback was not answered with 200")
			}
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		if !evaluate[bool](b, "!!"+state("paid")) {
			untold++
		}
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.await("the page to say paid", state("paid"))
		b.await("no reload", "window.sameDocument === true")
	}
	t.Logf("%d of 3 pages had not been told when the program died", untold)
}

// answered tells whether WZRDPAY's callback "processed" of an invoice got its 200.
func answered(wzrd *sandbox.Server, id string) bool {
	for _, d := range wzrd.Deliveries() {
		if d.Invoice == id && d.Status == "processed" && d.Code == http.StatusOK {
			return true
		}
	}
	return false
}

// openAt opens a session at a program and gives the address of its hosted page.
func openAt(t *testing.T, p *ordeal.Program, reference string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.PrivateURL()+"/v1/sessions",
		strings.NewReader(`{"reference_id":"`+reference+`","amount":39,"currency":"EUR"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+ordeal.MerchantKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var s struct {
		URL string `json:"url"`
	}
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil || s.URL == "" {
		t.Fatalf("open session: %s: %v", res.Status, err)
	}
	return s.URL
}
