package wzrd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/wzrd"
)

// Below is the slow, obvious decoder: the whole text becomes a tree, and each fact is
// looked up in it. FuzzDecode holds the package's one-pass reader to it.

type pair struct {
	key   string
	value any
}

type object []pair

// last is a member's value; of a repeated key the last counts.
func (o object) last(key string) any {
	for _, p := range slices.Backward(o) {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

func tree(body []byte) (any, bool) {
	if !json.Valid(body) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return subtree(d), true
}

func subtree(d *json.Decoder) any {
	token, err := d.Token()
	if err != nil && !errors.Is(err, io.EOF) {
		panic(err)
	}
	switch token {
	case json.Delim('{'):
		o := object{}
		for d.More() {
			key, _ := d.Token()
			o = append(o, pair{key.(string), subtree(d)})
		}
		_, _ = d.Token()
		return o
	case json.Delim('['):
		list := []any{}
		for d.More() {
			list = append(list, subtree(d))
		}
		_, _ = d.Token()
		return list
	}
	return token
}

func at(v any, keys ...string) any {
	for _, k := range keys {
		o, ok := v.(object)
		if !ok {
			return nil
		}
		v = o.last(k)
	}
	return v
}

func str(v any) string { s, _ := v.(string); return s }

func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

func money(v any) *checkout.Amount {
	text := ""
	switch v := v.(type) {
	case string:
		text = strings.TrimSpace(v)
	case json.Number:
		text = v.String()
	}
	a, err := checkout.ParseAmount(text)
	if err != nil {
		return nil
	}
	return &a
}

func integer(v any) (int64, bool) {
	sign := int64(1)
	if n, ok := v.(json.Number); ok && strings.HasPrefix(n.String(), "-") {
		sign, v = -1, json.Number(n.String()[1:])
	}
	a := money(v)
	if a == nil || a.Digits() != 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(a.String(), 10, 64)
	return sign * n, err == nil
}

func moment(v any) int64 {
	if a := money(v); a != nil {
		whole, _, _ := strings.Cut(a.String(), ".")
		n, _ := strconv.ParseInt(whole, 10, 64)
		return n
	}
	if at, err := time.Parse(time.RFC3339, str(v)); err == nil && at.Unix() > 0 {
		return at.Unix()
	}
	return 0
}

func boolean(v any) (yes, said bool) {
	s := strings.ToLower(scalar(v))
	return s == "true" || s == "1", slices.Contains([]string{"true", "1", "false", "0"}, s)
}

func languages(v any) checkout.Text {
	if s := str(v); s != "" {
		return checkout.Text{"en": s}
	}
	t := checkout.Text{}
	o, _ := v.(object)
	for _, p := range o {
		if s, ok := p.value.(string); ok {
			t[p.key] = s
		}
	}
	if len(t) == 0 {
		return nil
	}
	return t
}

type slowWire struct {
	checkout.Invoice
	hpp, action, method string
	params              map[string]string
}

func slowInvoice(body []byte) (slowWire, error) {
	var w slowWire
	doc, ok := tree(body)
	if !ok {
		return w, checkout.ErrInvalid
	}
	data, ok := at(doc, "data").(object)
	if !ok {
		return w, errors.New("no object")
	}
	a, ok := data.last("attributes").(object)
	if !ok {
		a = data
	}
	w.ID = str(data.last("id"))
	w.ReferenceID = scalar(a.last("reference_id"))
	w.Service = str(at(data, "relationships", "payment-service", "data", "id"))
	if w.Service == "" {
		w.Service = str(a.last("service"))
	}
	w.Status = strings.ToLower(strings.TrimSpace(str(a.last("status"))))
	w.Resolution = strings.ToLower(strings.TrimSpace(str(a.last("resolution"))))
	w.PaymentAmount, w.ProcessedAmount, w.RefundedAmount = money(a.last("payment_amount")), money(a.last("processed_amount")), money(a.last("refunded_amount"))
	w.Currency = str(a.last("currency"))
	w.Created, w.Updated, w.ExpiresAt = moment(a.last("created")), moment(a.last("updated")), moment(a.last("expires"))
	if w.Updated == 0 {
		w.Updated = w.Created
	}
	w.TestMode, _ = boolean(a.last("test_mode"))
	w.SessionID = str(at(a.last("metadata"), "session_id"))
	w.hpp = str(a.last("hpp_url"))
	form := a.last("flow_data")
	if str(at(form, "action")) == "" {
		form = at(a.last("active_payment"), "payload")
	}
	w.action, w.method = str(at(form, "action")), strings.ToUpper(str(at(form, "method")))
	if params, ok := at(form, "params").(object); ok {
		flat := map[string]string{}
		slowFlat(params, "", flat)
		if len(flat) > 0 {
			w.params = flat
		}
	}
	amount := money(a.last("amount"))
	if w.ID == "" || w.Status == "" || amount == nil || w.Currency == "" {
		return w, errors.New("incomplete")
	}
	w.Amount = *amount
	return w, nil
}

func slowFlat(v any, name string, into map[string]string) {
	inside := func(key string) string {
		if name == "" {
			return key
		}
		return name + "[" + key + "]"
	}
	switch v := v.(type) {
	case object:
		for _, p := range v {
			slowFlat(p.value, inside(p.key), into)
		}
	case []any:
		for i, e := range v {
			slowFlat(e, inside(strconv.Itoa(i)), into)
		}
	case nil:
	default:
		if name != "" {
			into[name] = scalar(v)
		}
	}
}

func slowPreRequest(body []byte, currency string) (pre checkout.PreRequest, test, said bool, err error) {
	doc, ok := tree(body)
	if !ok {
		return pre, false, false, checkout.ErrInvalid
	}
	data := at(doc, "data")
	if inner, ok := at(data, "attributes").(object); ok {
		data = inner
	}
	services := at(data, "services")
	switch services.(type) {
	case object, []any:
	default:
		return pre, false, false, errors.New("no services")
	}
	if c := str(at(data, "currency")); c != "" && c != currency {
		return pre, false, false, errors.New("another currency")
	}
	pre.Currency = currency
	pre.Methods = map[string]checkout.Method{}
	for _, p := range slowMembers(at(data, "methods")) {
		m := checkout.Method{
			Code: p.key, Category: str(at(p.value, "category")), Name: languages(at(p.value, "name")),
			Logo: slowAddress(at(p.value, "logo")), Icon: slowAddress(at(p.value, "icon")),
		}
		if d := at(p.value, "description"); str(d) != "" {
			m.Description = str(d)
		} else {
			m.Description = languages(d).In("en")
		}
		if n, ok := integer(at(p.value, "position")); ok {
			place := int(min(max(n, -1000000), 1000000))
			m.Position = &place
		}
		m.Hide, _ = boolean(at(p.value, "hide"))
		pre.Methods[p.key] = m
	}
	byCode := map[string]checkout.Service{}
	for _, p := range slowMembers(services) {
		s := checkout.Service{
			Code: p.key, Method: str(at(p.value, "method")), Flow: str(at(p.value, "flow")), Currency: str(at(p.value, "currency")),
			AmountMin: money(at(p.value, "amount_min")), AmountMax: money(at(p.value, "amount_max")), Fields: []checkout.Field{},
		}
		if s.Currency == "" {
			s.Currency = currency
		}
		var list []any
		switch v := at(p.value, "fields").(type) {
		case []any:
			list = v
		case object:
			for _, p := range v {
				list = append(list, p.value)
			}
		}
		for _, v := range list {
			f := checkout.Field{
				Key: str(at(v, "key")), Type: str(at(v, "type")), Label: languages(at(v, "label")), Hint: languages(at(v, "hint")),
				Example: scalar(at(v, "example")), Regexp: wzrd.Bare(str(at(v, "regexp"))),
			}
			if f.Type == "" {
				f.Type = "string"
			}
			f.Required, _ = boolean(at(v, "required"))
			place := at(v, "position")
			if place == nil {
				place = at(v, "weight")
			}
			n, _ := integer(place)
			f.Position = int(min(max(n, -1000000), 1000000))
			if f.Key != "" {
				s.Fields = append(s.Fields, f)
			}
		}
		sort.SliceStable(s.Fields, func(i, j int) bool { return s.Fields[i].Position < s.Fields[j].Position })
		byCode[s.Code] = s
	}
	for _, code := range slices.Sorted(maps.Keys(byCode)) {
		pre.Services = append(pre.Services, byCode[code])
	}
	// By code already; the two greater keys of the order, stably.
	kinds := []string{"payment_card", "digital_wallet", "mobile_payment", "online_banking", "bank_transfer"}
	key := func(s checkout.Service) [2]int {
		m := pre.Methods[s.Method]
		k := [2]int{1 << 30, slices.Index(kinds, m.Category)}
		if m.Position != nil {
			k[0] = *m.Position
		}
		if k[1] < 0 {
			k[1] = 50
		}
		if m.Category == "alternative" {
			k[1] = 51
		}
		return k
	}
	sort.SliceStable(pre.Services, func(i, j int) bool {
		a, b := key(pre.Services[i]), key(pre.Services[j])
		return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
	})
	account := at(data, "account")
	pre.Account = checkout.Account{
		Name: str(at(account, "name")), Description: str(at(account, "description")),
		Icon: slowAddress(at(account, "icon")), Website: slowAddress(at(account, "website")),
	}
	test, said = boolean(at(data, "test_mode"))
	return pre, test, said, nil
}

func slowMembers(v any) []pair {
	var list []pair
	switch v := v.(type) {
	case object:
		list = slices.Clone(v)
	case []any:
		for _, e := range v {
			list = append(list, pair{"", e})
		}
	}
	var out []pair
	for _, p := range list {
		if _, ok := p.value.(object); !ok {
			continue
		}
		if own := str(at(p.value, "code")); own != "" {
			p.key = own
		}
		if p.key != "" {
			out = append(out, p)
		}
	}
	return out
}

func slowAddress(v any) string {
	s := str(v)
	if !strings.HasPrefix(s, "https://") || strings.ContainsAny(s, " \t\r\n\"'<>\\") {
		return ""
	}
	return s
}

func slowAccountService(body []byte) (checkout.AccountService, error) {
	var s checkout.AccountService
	doc, ok := tree(body)
	if !ok {
		return s, checkout.ErrInvalid
	}
	data := at(doc, "data")
	a := at(data, "attributes")
	s.ID, s.Service, s.Method, s.Currency = str(at(data, "id")), str(at(a, "service")), str(at(a, "service_method")), str(at(a, "service_currency"))
	s.Available, _ = boolean(at(a, "available"))
	s.Active, _ = boolean(at(a, "active"))
	s.Enabled, _ = boolean(at(a, "enabled"))
	s.AmountMin, s.AmountMax = money(at(a, "amount_min")), money(at(a, "amount_max"))
	s.FeeMin, s.FeeMax, s.FeeRate, s.FeeFix = money(at(a, "fee_min")), money(at(a, "fee_max")), money(at(a, "fee_rate")), money(at(a, "fee_fix"))
	s.ReserveLifetime, _ = integer(at(a, "reserve_lifetime"))
	s.ReserveRate = money(at(a, "reserve_rate"))
	s.AccountCurrency = str(at(a, "currency"))
	s.TestMode, _ = boolean(at(a, "test_mode"))
	if s.Service == "" {
		s.Service = str(at(data, "relationships", "payment-service", "data", "id"))
	}
	if s.Method == "" {
		s.Method = str(at(data, "relationships", "payment-method", "data", "id"))
	}
	if s.ID == "" || s.Service == "" {
		return s, errors.New("incomplete")
	}
	return s, nil
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{
		"prerequest.json", "services.json", "service.json", "public_create.json", "public_get.json", "private_create.json",
		"private_get.json", "by_reference.json", "private_list.json", "callback.json", "error_401.json", "error_422.json", "error_500.json",
	} {
		f.Add([]byte(sample(f, name)))
	}
	for _, row := range tolerated {
		f.Add([]byte(row.body))
	}
	f.Add([]byte(`{"data":{"id":"a","id":"b","status":"x","amount":"1e-08","currency":"E","\u0061mount":2,"flow_data":{"params":{"a":[1,{"b":null}],"":1}}}}`))
	f.Add([]byte(`{"data":{"services":[{"code":"x","fields":{"3":{"key":"a","position":"2"},"1":{"key":"b","weight":1e0}}},7],"methods":{"m":{"position":-1e99,"hide":"1"}}}}`))
	f.Add([]byte(" {\"data\" : { \"id\" : \"\\ud800\xff\" } }\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		fast, hpp, action, method, params, err := wzrd.DecodeInvoice(body)
		slow, slowErr := slowInvoice(body)
		if (err == nil) != (slowErr == nil) {
			t.Fatalf("invoice %s: %v, want %v", body, err, slowErr)
		}
		if got := (slowWire{fast, hpp, action, method, params}); err == nil && !reflect.DeepEqual(got, slow) {
			t.Fatalf("invoice %s:\n%+v, want\n%+v", body, got, slow)
		}
		pre, test, said, err := wzrd.DecodePreRequest(body, "EUR")
		slowPre, slowTest, slowSaid, slowErr := slowPreRequest(body, "EUR")
		if (err == nil) != (slowErr == nil) {
			t.Fatalf("pre-request %s: %v, want %v", body, err, slowErr)
		}
		if err == nil && (!reflect.DeepEqual(pre, slowPre) || test != slowTest || said != slowSaid) {
			t.Fatalf("pre-request %s:\n%+v %v %v, want\n%+v %v %v", body, pre, test, said, slowPre, slowTest, slowSaid)
		}
		service, err := wzrd.DecodeAccountService(body)
		slowService, slowErr := slowAccountService(body)
		if (err == nil) != (slowErr == nil) || err == nil && !reflect.DeepEqual(service, slowService) {
			t.Fatalf("service %s:\n%+v %v, want\n%+v %v", body, service, err, slowService, slowErr)
		}
		code, detail, problems := wzrd.DecodeProblem(body)
		for _, text := range append([]string{code, detail}, messages(problems)...) {
			if strings.ContainsAny(text, "\n\r\x00\x1b") || len([]rune(text)) > 310 {
				t.Fatalf("problem %s says %q", body, text)
			}
		}
		for i := 1; i < len(problems); i++ {
			if problems[i-1].Field >= problems[i].Field {
				t.Fatalf("problem %s: fields %v", body, problems)
			}
		}
	})
}

func messages(problems []checkout.FieldError) []string {
	var list []string
	for _, p := range problems {
		list = append(list, p.Field, p.Message)
	}
	return list
}

func inv(attributes string) string {
	return `{"data":{"type":"payment-invoices","id":"cpi_1","attributes":{"status":"created","amount":10,"currency":"EUR",` + attributes + `"z":0}}}`
}

func pre(service, rest string) string {
	return `{"data":{"currency":"EUR","services":{"s":{"code":"s","method":"m",` + service + `"flow":"hpp"}},"methods":{"m":{"code":"m"}}` + rest + `}}`
}

// tolerated is the tolerance list of the vendor's variants, one row or more for each of
// its rows. show picks what the row is about.
var tolerated = []struct {
	name, body string
	show       func(t *testing.T, body []byte) any
	want       any
}{
	{"params object", inv(`"flow_data":{"action":"https://a.example","method":"post","params":{"a":"1","n":2,"b":true,"x":{"y":"z"}}},`), form, "POST https://a.example a=1 b=true n=2 x[y]=z"},
	{"params PHP empty", inv(`"flow_data":{"action":"https://a.example","method":"GET","params":[]},`), form, "GET https://a.example"},
	{"params null", inv(`"flow_data":{"action":"https://a.example","method":"GET","params":null},`), form, "GET https://a.example"},
	{"params absent", inv(`"flow_data":{"action":"https://a.example","method":"GET"},`), form, "GET https://a.example"},
	{"flow_data PHP empty", inv(`"flow_data":[],`), form, ""},
	{"flow_data null", inv(`"flow_data":null,`), form, ""},
	{"flow_data of the public view", `{"data":{"id":"cpi_1","status":"x","amount":1,"currency":"EUR","active_payment":{"payload":{"action":"https://a.example","method":"GET","params":[]}}}}`, form, "GET https://a.example"},
	{"active_payment PHP empty", inv(`"active_payment":[],`), form, ""},
	{"metadata object", inv(`"metadata":{"session_id":"cs_1"},`), func(t *testing.T, b []byte) any { return invoice(t, b).SessionID }, "cs_1"},
	{"metadata PHP empty", inv(`"metadata":[],`), func(t *testing.T, b []byte) any { return invoice(t, b).SessionID }, ""},
	{"metadata null", inv(`"metadata":null,`), func(t *testing.T, b []byte) any { return invoice(t, b).SessionID }, ""},
	{"payload, original_data, return_urls, logs empty in every form", inv(`"payload":null,"original_data":[],"return_urls":[],"callback_logs":[],`), status, "created"},
	{"callback_logs by epoch", inv(`"callback_logs":{"1597833098":{"status":"done","response_code":200}},`), status, "created"},
	{"relationships PHP empty", `{"data":{"id":"cpi_1","attributes":{"status":"x","amount":1,"currency":"EUR","service":"card"},"relationships":[],"links":[]}}`, func(t *testing.T, b []byte) any { return invoice(t, b).Service }, "card"},
	{"relationships null", `{"data":{"id":"cpi_1","attributes":{"status":"x","amount":1,"currency":"EUR"},"relationships":null}}`, func(t *testing.T, b []byte) any { return invoice(t, b).Service }, ""},
	{"resolution OK", inv(`"resolution":"OK",`), func(t *testing.T, b []byte) any { return invoice(t, b).Resolution }, "ok"},
	{"resolution ok", inv(`"resolution":"ok",`), func(t *testing.T, b []byte) any { return invoice(t, b).Resolution }, "ok"},
	{"resolution null", inv(`"resolution":null,`), func(t *testing.T, b []byte) any { return invoice(t, b).Resolution }, ""},
	{"status upper case", inv(`"status":"CHARGED_BACK",`), status, "charged_back"},
	{"status unknown stays", inv(`"status":"In_Limbo",`), status, "in_limbo"},
	{"amount a string", inv(`"amount":"0.00001000",`), func(t *testing.T, b []byte) any { return invoice(t, b).Amount.String() }, "0.00001"},
	{"amount an exponent", inv(`"amount":1e-08,`), func(t *testing.T, b []byte) any { return invoice(t, b).Amount.String() }, "0.00000001"},
	{"amount a float that is whole", inv(`"amount":100.0,`), func(t *testing.T, b []byte) any { return invoice(t, b).Amount.String() }, "100"},
	{"processed amounts null", inv(`"processed_amount":null,"refunded_amount":null,"processed":null,`), func(t *testing.T, b []byte) any { return invoice(t, b).ProcessedAmount == nil }, true},
	{"processed amount a string", inv(`"processed_amount":"10.50",`), func(t *testing.T, b []byte) any { return invoice(t, b).ProcessedAmount.String() }, "10.5"},
	{"times as strings and floats", inv(`"created":"1597833098","updated":1597833098.7,`), func(t *testing.T, b []byte) any { return [2]int64{invoice(t, b).Created, invoice(t, b).Updated} }, [2]int64{1597833098, 1597833098}},
	{"time as an exponent", inv(`"created":1.597833098e9,`), func(t *testing.T, b []byte) any { return invoice(t, b).Created }, int64(1597833098)},
	{"time as a date", inv(`"expires":"2026-12-13T15:52:00+00:00",`), func(t *testing.T, b []byte) any { return invoice(t, b).ExpiresAt }, int64(1797177120)},
	{"test_mode a number", inv(`"test_mode":1,`), func(t *testing.T, b []byte) any { return invoice(t, b).TestMode }, true},
	{"test_mode a string", inv(`"test_mode":"true",`), func(t *testing.T, b []byte) any { return invoice(t, b).TestMode }, true},
	{"test_mode the string 0", inv(`"test_mode":"0",`), func(t *testing.T, b []byte) any { return invoice(t, b).TestMode }, false},
	{"reference a number", inv(`"reference_id":1203515,`), func(t *testing.T, b []byte) any { return invoice(t, b).ReferenceID }, "1203515"},
	{"escaped slashes", inv(`"hpp_url":"https:\/\/pay.example\/x",`), hppURL, "https://pay.example/x"},
	{"hpp_url absent", inv(``), hppURL, ""},
	{"unknown keys of every type", inv(`"a":[1,[2]],"b":{"c":{}},"d":"}\"{","e":null,"f":-1.5E+3,`), status, "created"},
	{"space everywhere", " \n{ \"data\" :\t{ \"id\" : \"cpi_1\" , \"status\" : \"x\" , \"amount\" : 1 , \"currency\" : \"EUR\" } }\r\n", status, "x"},

	{"errors a list", `{"errors":[{"status":"Unauthorized","code":"401"}]}`, problem, "401|Unauthorized|"},
	{"errors a list with detail", `{"errors":[{"status":"internal_error","code":"500","title":"internal_error","detail":"Internal server error."}]}`, problem, "500|Internal server error.|"},
	{"errors with a number as code", `{"errors":[{"status":"Not Found","code":404}]}`, problem, "404|Not Found|"},
	{"errors an object", `{"errors":{"amount":"This value should be greater than 0."}}`, problem, "||amount: This value should be greater than 0."},
	{"errors with lists of messages", `{"errors":{"amount":["Too low.","x"],"service":[]}}`, problem, "||amount: Too low.; service: WZRDPAY refused this value."},
	{"errors of service fields, nested", `{"errors":{"service_fields":{"phone":"Bad."}}}`, problem, "||phone: Bad."},
	{"errors of service fields, dots", `{"errors":{"service_fields.phone":"Bad."}}`, problem, "||phone: Bad."},
	{"errors of service fields, brackets", `{"errors":{"service_fields[phone]":"Bad."}}`, problem, "||phone: Bad."},
	{"errors of service fields, whole path", `{"errors":{"data.attributes.service_fields[phone]":"Bad."}}`, problem, "||phone: Bad."},
	{"errors of a plain field", `{"errors":{"phone":"Bad."}}`, problem, "||phone: Bad."},
	{"errors deeper", `{"errors":{"customer":{"address":{"country":"Bad."}}}}`, problem, "||customer.address.country: Bad."},
	{"errors with pointers", `{"errors":[{"detail":"Bad.","source":{"pointer":"/data/attributes/amount"}}]}`, problem, "|Bad.|amount: Bad."},
	{"errors PHP empty", `{"errors":[]}`, problem, "||"},
	{"error of the old client", `{"error":"Nope"}`, problem, "|Nope|"},
	{"error as an object", `{"error":{"message":"Nope"}}`, problem, "|Nope|"},
	{"errors a string", `{"errors":"Nope\nLine"}`, problem, "|Nope Line|"},

	{"pre-request as JSON:API", `{"data":{"type":"payment-prerequest","attributes":{"services":{"s":{"code":"s"}}}}}`, codes, "s"},
	{"services PHP empty", `{"data":{"services":[],"methods":[],"account":[]}}`, codes, ""},
	{"services a list", `{"data":{"services":[{"code":"b"},{"code":"a"},"x",{}]}}`, codes, "a b"},
	{"a service that is no object", `{"data":{"services":{"a":{"code":"a"},"b":7,"c":null,"d":[]}}}`, codes, "a"},
	{"a service without its code", `{"data":{"services":{"a":{}}}}`, codes, "a"},
	{"limits as strings", pre(`"amount_min":"0.00001000","amount_max":"1e+6",`, ""), func(t *testing.T, b []byte) any {
		s := preRequest(t, b).Services[0]
		return s.AmountMin.String() + " " + s.AmountMax.String()
	}, "0.00001 1000000"},
	{"limits as exponents", pre(`"amount_min":1e-08,`, ""), func(t *testing.T, b []byte) any { return preRequest(t, b).Services[0].AmountMin.String() }, "0.00000001"},
	{"limits null or absent", pre(`"amount_min":null,`, ""), func(t *testing.T, b []byte) any {
		s := preRequest(t, b).Services[0]
		return s.AmountMin == nil && s.AmountMax == nil
	}, true},
	{"another currency than asked for in a service", pre(`"currency":"BTC",`, ""), func(t *testing.T, b []byte) any { return preRequest(t, b).Services[0].Currency }, "BTC"},
	{"fields null", pre(`"fields":null,`, ""), keys, ""},
	{"fields an object", pre(`"fields":{"0":{"key":"a","position":2},"2":{"key":"b","position":1}},`, ""), keys, "b a"},
	{"fields with weights", pre(`"fields":[{"key":"a","weight":"2"},{"key":"b","weight":1}],`, ""), keys, "b a"},
	{"fields in order, ties as they come", pre(`"fields":[{"key":"a","position":1},{"key":"b","position":0},{"key":"c","position":1}],`, ""), keys, "b a c"},
	{"a field that is no field", pre(`"fields":[{"key":"a"},null,"x",{"type":"string"}],`, ""), keys, "a"},
	{"label a plain string", pre(`"fields":[{"key":"a","label":"Phone","hint":[]}],`, ""), func(t *testing.T, b []byte) any { return preRequest(t, b).Services[0].Fields[0].Label.In("uk") }, "Phone"},
	{"method name a plain string", pre("", `,"methods":{"m":{"name":"Card","position":"3","hide":1}}`), func(t *testing.T, b []byte) any {
		m := preRequest(t, b).Methods["m"]
		return m.Name.In("en") + " " + strconv.Itoa(*m.Position) + " " + strconv.FormatBool(m.Hide)
	}, "Card 3 true"},
	{"logo that is no https address", pre("", `,"methods":{"m":{"logo":"javascript:alert(1)","icon":"http://a.example/x"}}`), func(t *testing.T, b []byte) any {
		m := preRequest(t, b).Methods["m"]
		return m.Logo + m.Icon
	}, ""},
	{"pattern of PHP", pre(`"fields":[{"key":"a","regexp":"/^\\+\\d{10,14}$/u"}],`, ""), func(t *testing.T, b []byte) any { return preRequest(t, b).Services[0].Fields[0].Regexp }, `^\+\d{10,14}$`},
	{"pattern null", pre(`"fields":[{"key":"a","regexp":null,"example":null,"required":"1"}],`, ""), func(t *testing.T, b []byte) any {
		f := preRequest(t, b).Services[0].Fields[0]
		return f.Regexp + f.Example + strconv.FormatBool(f.Required)
	}, "true"},
	{"a nested list where it is odd", `{"data":{"services":{"s":{"fields":[{"key":{"a":1},"label":7}]}},"methods":{"m":"x"},"account":"x"}}`, codes, "s"},
}

func invoice(t *testing.T, body []byte) checkout.Invoice {
	t.Helper()
	v, _, _, _, _, err := wzrd.DecodeInvoice(body)
	if err != nil {
		t.Fatalf("decode %s: %v", body, err)
	}
	return v
}

func status(t *testing.T, body []byte) any { return invoice(t, body).Status }

func hppURL(t *testing.T, body []byte) any {
	_, hpp, _, _, _, err := wzrd.DecodeInvoice(body)
	if err != nil {
		t.Fatal(err)
	}
	return hpp
}

func form(t *testing.T, body []byte) any {
	_, _, action, method, params, err := wzrd.DecodeInvoice(body)
	if err != nil {
		t.Fatal(err)
	}
	text := method + " " + action
	for _, k := range slices.Sorted(maps.Keys(params)) {
		text += " " + k + "=" + params[k]
	}
	return strings.TrimSpace(text)
}

func problem(_ *testing.T, body []byte) any {
	code, detail, fields := wzrd.DecodeProblem(body)
	var list []string
	for _, f := range fields {
		list = append(list, f.Field+": "+f.Message)
	}
	return code + "|" + detail + "|" + strings.Join(list, "; ")
}

func preRequest(t *testing.T, body []byte) checkout.PreRequest {
	t.Helper()
	p, _, _, err := wzrd.DecodePreRequest(body, "EUR")
	if err != nil {
		t.Fatalf("decode %s: %v", body, err)
	}
	return p
}

func codes(t *testing.T, body []byte) any {
	var list []string
	for _, s := range preRequest(t, body).Services {
		list = append(list, s.Code)
	}
	return strings.Join(list, " ")
}

func keys(t *testing.T, body []byte) any {
	var list []string
	for _, f := range preRequest(t, body).Services[0].Fields {
		list = append(list, f.Key)
	}
	return strings.Join(list, " ")
}

func TestDecode_Tolerance(t *testing.T) {
	t.Parallel()
	for _, row := range tolerated {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := row.show(t, []byte(row.body)); !reflect.DeepEqual(got, row.want) {
				t.Errorf("decode %s = %v, want %v", row.body, got, row.want)
			}
		})
	}
}

// What can not be used is refused, never guessed.
func TestDecode_Refused(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`null`, `[]`, `{}`, `{"data":null}`, `{"data":[]}`, `{"data":{}}`, `{"data":"x"}`,
		`{"data":{"id":7,"status":"x","amount":1,"currency":"EUR"}}`,
		`{"data":{"id":"a","status":{},"amount":1,"currency":"EUR"}}`,
		`{"data":{"id":"a","status":"x","amount":[],"currency":"EUR"}}`,
		`{"data":{"id":"a","status":"x","amount":"ten","currency":"EUR"}}`,
		`{"data":{"id":"a","status":"x","amount":1,"currency":978}}`,
	} {
		if v, _, _, _, _, err := wzrd.DecodeInvoice([]byte(body)); err == nil {
			t.Errorf("decode invoice %s = %+v, want an error", body, v)
		}
	}
	for _, body := range []string{`{}`, `{"data":{}}`, `{"data":{"services":null}}`, `{"data":{"services":7}}`, `{"data":{"services":"x"}}`, `{"data":{"services":{},"currency":"USD"}}`} {
		if v, _, _, err := wzrd.DecodePreRequest([]byte(body), "EUR"); err == nil {
			t.Errorf("decode pre-request %s = %+v, want an error", body, v)
		}
	}
}

func BenchmarkParseCallback(b *testing.B) {
	body := []byte(sample(b, "callback.json"))
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := wzrd.ParseCallback(body); err != nil {
			b.Fatal(err)
		}
	}
}
