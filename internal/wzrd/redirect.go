package wzrd

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"wzrdcheckout/internal/checkout"
)

// redirects judges where a shopper may be sent.
type redirects struct {
	test  bool
	hosts []string // allow-list, lower case; empty = any host
	hpp   string   // base of the hosted page, "" = not known
}

// of picks the way to pay: hpp_url first, else the form of flow_data, else, for a flow
// whose flow_data has no action (invoice, transfer), the hosted page at its configured
// base, which takes the invoice's id as cpi. offered tells whether the answer held any; nil with offered means that none of them is acceptable.
func (r redirects) of(w wireInvoice) (to *checkout.Redirect, offered bool) {
	if u, ok := r.accept(w.hppURL); ok {
		return &checkout.Redirect{Method: "GET", URL: u}, true
	}
	method := w.form.method
	if method == "" {
		method = "GET" // an HTML form's own default
	}
	if u, ok := r.accept(w.form.action); ok && (method == "GET" || method == "POST") {
		return &checkout.Redirect{Method: method, URL: u, Params: w.form.params}, true
	}
	if w.hppURL == "" && w.form.elsewhere && r.hpp != "" {
		if u, ok := r.accept(r.hpp + "/?cpi=" + url.QueryEscape(w.ID)); ok {
			return &checkout.Redirect{Method: "GET", URL: u}, true
		}
	}
	return nil, w.hppURL != "" || w.form.action != ""
}

// accept takes an absolute https address with a host and no user information; with test
// keys http on a loopback host too.
func (r redirects) accept(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.Opaque != "" {
		return "", false
	}
	host := strings.ToLower(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || !r.test || !loopback(host)) {
		return "", false
	}
	if len(r.hosts) > 0 && !slices.Contains(r.hosts, host) {
		return "", false
	}
	return u.String(), true
}

func loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// hostedPage is the hosted page below a base: both the page's own address
// (…/redirect/hpp/) and the base of it are taken for WZRD_HPP_URL.
func hostedPage(base string) string {
	base = strings.TrimRight(base, "/")
	if base == "" || strings.HasSuffix(base, "/hpp") {
		return base
	}
	return base + "/hpp"
}
