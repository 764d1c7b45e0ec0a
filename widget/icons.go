package widget

// Drawn by us on a 24 × 24 grid, one stroked path each.
const (
	iconCard   = "M3 7a1 1 0 0 1 1-1h16a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1zM3 10h18M6 14h5"
	iconBank   = "M4 10h16l-8-6zM6 10v7M10 10v7M14 10v7M18 10v7M4 20h16"
	iconWallet = "M4 8a2 2 0 0 1 2-2h11v3M4 8v9a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2V9H5a1 1 0 0 1-1-1zM16 14h.01"
	iconPhone  = "M8 3h8a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H8a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1zM11 18h2"
	iconCash   = "M3 7h18v10H3zM14 12a2 2 0 1 1-4 0 2 2 0 0 1 4 0zM6 12h.01M18 12h.01"
	iconTicket = "M4 7h16v3a2 2 0 0 0 0 4v3H4v-3a2 2 0 0 0 0-4zM14 7v10"
	iconLock   = "M7 11h10a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1H7a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1zM9 11V8a3 3 0 0 1 6 0v3"
	iconGood   = "M6 12l4 4 8-9"
	iconBad    = "M7 7l10 10M17 7L7 17"
	iconWarn   = "M12 6.5v7M12 17.5v.01"
	iconBack   = "M9 6l-4 4 4 4M5 10h10a4 4 0 0 1 0 8h-2"
	iconClock  = "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16zM12 8v4l3 2"
	iconWait   = "M7 12h.01M12 12h.01M17 12h.01"
)

// kind tells what sort of method a category is: what stands for one that has no logo,
// and the text key of its group in a long list.
func kind(category string) (sign, group string) {
	switch category {
	case "payment_card", "prepaid_card":
		return iconCard, "g.card"
	case "digital_wallet", "alternative":
		return iconWallet, "g.wallet"
	case "mobile_payment", "mobile_carrier_billing", "ussd":
		return iconPhone, "g.phone"
	case "cash_payment", "cash_on_delivery":
		return iconCash, "g.cash"
	case "prepaid_voucher", "invoice_payment", "check":
		return iconTicket, "g.voucher"
	}
	return iconBank, "g.bank"
}
