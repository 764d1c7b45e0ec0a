package e2e_test

import (
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// The names that the widget gives its parts; the tests find them by these.
const (
	sepa     = "sepa_transfer_eur_hpp"
	card     = "payment_card_eur_hpp"
	payer    = `input[name="field.` + sepa + `.payer_name"]`
	iban     = `input[name="field.` + sepa + `.iban_number"]`
	button   = `button.pay`
	goodIBAN = "DE89370400440532013000"
)

func row(service string) string { return `[data-k="` + service + `"] label.head` }

func state(name string) string { return `deep('.state[data-k="` + name + `"]')` }

// live is true once the widget has taken over the nodes that the server drew.
const live = `(deep("wzrd-checkout")?.checkout?.state?.step ?? "loading") !== "loading"`

// choose picks the transfer and fills its fields, with a wrong value first: it is refused
// in the page, and nothing is sent.
func choose(b *tab) {
	b.t.Helper()
	b.await("the widget to take over", live)
	b.click(row(sepa))
	b.fill(payer, "Olena Demo")
	b.fill(iban, "not an iban")
	b.click(button)
	b.await("the wrong value to be refused", `deep('input[name="field.`+sepa+`.iban_number"]')?.getAttribute("aria-invalid") === "true"`)
	if n := b.requests("POST "); n != 0 {
		b.t.Fatalf("a wrong value was sent: %d requests", n)
	}
	if kept := evaluate[string](b, quoteCall("deep", iban)+".value"); kept != "not an iban" {
		b.t.Fatalf("the page kept %q of what was typed", kept)
	}
	b.picture("fields-wrong")
	b.fill(iban, goodIBAN)
}

func TestJourney(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := open(t)
	b.visit(p.URL())
	b.await("the payment methods", `shown(`+quoteCall("deep", row(card))+`)`)
	b.picture("list")
	choose(b)
	b.picture("fields")
	b.click(button)

	b.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
	b.picture("sandbox")
	b.click("#pay")
	b.await("the shop again", "location.origin === "+strconv.Quote(p.URL()))
	b.await("the widget to say paid", state("paid"))
	b.await("the shop to have heard", `deep('#heard li[data-type="session.paid"]')`)
	b.picture("paid")

	inv := p.theInvoice()
	code, s := p.call("GET", "/v1/sessions?reference_id="+inv.ReferenceID, nil)
	if code != 200 {
		t.Fatalf("look up session: %d %v", code, s)
	}
	found := s["data"].([]any)[0].(map[string]any)
	if found["status"] != "paid" || found["invoice"].(map[string]any)["id"] != inv.ID {
		t.Errorf("the shop's server sees %v, want paid by %s", found, inv.ID)
	}
}

// Without the callback nothing may say paid; when it comes the open page turns by itself.
func TestPaidNeedsTheCallback(t *testing.T) {
	t.Parallel()
	p := start(t, "reconcile", "401", "403", "read invoice")
	b := open(t)
	b.visit(p.URL())
	choose(b)
	b.click(button)
	b.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
	p.Sandbox().HoldCallbacks()
	// Nor may the BFF learn it by asking, which it does when nothing is heard for 10 s.
	mute := p.Sandbox().Faults()
	mute.ForbidPrivateAPI = true
	p.Sandbox().SetFaults(mute)
	b.click("#pay")
	b.await("the widget to wait", state("pending")+"||"+state("checking"))
	b.picture("waiting")
	evaluate[bool](b, "window.sameDocument = true")
	b.never("the widget says paid before the callback came", state("paid"), 2*time.Second)
	p.Sandbox().ReleaseCallbacks()
	b.await("the widget to say paid", state("paid"))
	b.await("no reload", "window.sameDocument === true")
}

func TestFailedThenPaidAnotherWay(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := open(t)
	b.visit(p.URL())
	choose(b)
	b.click(button)
	b.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
	b.click("#fail")
	b.await("why it failed", `deep('[data-k="failure"]')`)
	b.picture("failed")
	b.await("the widget to take over", live)
	b.click(row(card))
	b.click(button)
	b.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
	b.click("#pay")
	b.await("the widget to say paid", state("paid"))
	list := p.Sandbox().Invoices()
	if len(list) != 2 || list[1].ReferenceID != list[0].ReferenceID+".2" {
		t.Errorf("WZRDPAY has %d invoices; want two, the second with the reference of the first and .2", len(list))
	}
}

// What is in public/ must have been built from the sources that lie here.
func TestWidgetIsNotStale(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "run", "./cmd/assets", "-check")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the widget in public/ is stale: %v\n%s", err, out)
	}
}
