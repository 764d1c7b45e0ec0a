package docs_test

import (
	"net"
	"testing"

	"wzrdcheckout/internal/app"
)

// provoked is what the system and the settings' checks say when something is really wrong.
func provoked(t *testing.T) []string {
	t.Helper()
	var said []string
	note := func(err error) {
		if err == nil {
			t.Error("nothing went wrong that should have")
			return
		}
		said = append(said, err.Error())
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = net.Listen("tcp", taken.Addr().String())
	note(err)
	address := taken.Addr().String()
	_ = taken.Close()
	_, err = net.Dial("tcp", address)
	note(err)

	bad := app.Default()
	note(bad.Validate()) // everything that is required is missing
	bad.PublicURL, bad.WebhookURL, bad.WZRD.PublicAPI, bad.WZRD.PrivateAPI = "http://pay.shop.example/x", "shop", "http://a", "http://b"
	bad.AllowedOrigins, bad.SessionKeys, bad.MerchantKeys = []string{"https://shop.example/"}, []string{"k1:AAAA"}, []string{"short"}
	bad.WebhookSecrets, bad.WZRD.PublicKey, bad.WZRD.SigningKeys = []string{"whsec_AAAA"}, "pk_live_x", []string{"sk_test_x"}
	bad.Cluster.Peers, bad.NATS.URL = []string{"a:1"}, "nats://x"
	note(bad.Validate())
	return said
}
