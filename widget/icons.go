package widget

// Drawn by us on a 24 × 24 grid, one stroked path each.
const (
	iconCard   = "M3 7.5A1.5 1.5 0 0 1 4.5 6h15A1.5 1.5 0 0 1 21 7.5v9a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 16.5zM3 10h18M6.5 14.5h4"
	iconBank   = "M4 10h16L12 4.5zM6 10v7M10 10v7M14 10v7M18 10v7M4 19.5h16"
	iconWallet = "M4 7.5A1.5 1.5 0 0 1 5.5 6H17v3M4 7.5V17a1.5 1.5 0 0 0 1.5 1.5h13A1.5 1.5 0 0 0 20 17v-6.5A1.5 1.5 0 0 0 18.5 9h-13A1.5 1.5 0 0 1 4 7.5zM16 13.7h.6"
	iconPhone  = "M8.5 3.5h7A1.5 1.5 0 0 1 17 5v14a1.5 1.5 0 0 1-1.5 1.5h-7A1.5 1.5 0 0 1 7 19V5a1.5 1.5 0 0 1 1.5-1.5zM11 17.5h2"
	iconCash   = "M3 7h18v10H3zM14.2 12a2.2 2.2 0 1 1-4.4 0 2.2 2.2 0 0 1 4.4 0zM6 12h.01M18 12h.01"
	iconTicket = "M4 7h16v3.2a1.9 1.9 0 0 0 0 3.6V17H4v-3.2a1.9 1.9 0 0 0 0-3.6zM14 7v10"
	iconLock   = "M7 11h10a1 1 0 0 1 1 1v6.5a1 1 0 0 1-1 1H7a1 1 0 0 1-1-1V12a1 1 0 0 1 1-1zM8.5 11V8a3.5 3.5 0 0 1 7 0v3"
	iconGood   = "M6 12.5l4 4 8-9"
	iconBad    = "M7.5 7.5l9 9M16.5 7.5l-9 9"
	iconWarn   = "M12 6.5v7M12 17.2v.1"
	iconBack   = "M9 6.5l-4 4 4 4M5.5 10.5H15a4 4 0 0 1 0 8h-2"
	iconClock  = "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16zM12 8v4.3l2.9 1.7"
	iconWait   = "M7 12h.01M12 12h.01M17 12h.01"
)

// methodIcon is what stands for a method that has no logo, by its category.
func methodIcon(category string) string {
	switch category {
	case "payment_card", "prepaid_card":
		return iconCard
	case "digital_wallet", "alternative":
		return iconWallet
	case "mobile_payment", "mobile_carrier_billing", "ussd":
		return iconPhone
	case "cash_payment", "cash_on_delivery":
		return iconCash
	case "prepaid_voucher", "invoice_payment", "check":
		return iconTicket
	}
	return iconBank
}
