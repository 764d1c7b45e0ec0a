package checkout

// DefaultDigits is what a currency outside the table may carry at most (docs/server.md).
const DefaultDigits = 8

// CurrencyDigits gives the decimals of a currency's amounts, 0 to 9. Known tells whether
// the code is in the table; an unknown code may carry up to DefaultDigits.
// Source of the exceptions: the OpenFinTech catalogue, currencies in use by payment services.
func CurrencyDigits(code string) (digits int, known bool) {
	switch code {
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF":
		return 0, true
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 3, true
	case "TRX", "USDC":
		return 6, true
	case "ADA", "BCH", "BNB", "BTC", "BUSD", "DAIERC20", "ETC", "ETH", "MATIC", "TON", "USDCERC20", "USDCTRC20",
		"USDT", "USDTBEP20", "USDTERC20", "USDTTRC20", "USDCBEP20", "ZNX":
		return 8, true
	case "SOL":
		return 9, true
	case "DASH", "XRP": // as the catalogue has them
		return 2, true
	}
	if twoDigits(code) {
		return 2, true
	}
	return DefaultDigits, false
}

// national lists the two-digit currencies, three letters each, in alphabetical order
// (ISO 4217 and the test currency XTS, less the exceptions above; and the catalogue's
// older and electronic ones, from CHE to WMZ).
const national = "AEDAFNALLAMDANGAOAARSAUDAWGAZNBAMBBDBDTBGNBMDBNDBOBBRLBSDBTNBWPBYNBZDCADCDFCHECHFCNYCOPCRCCUPCVECZKDKKDOPDZDEGPERNETBEURFJDFKPGBPGELGHSGIPGMDGTQGYDHKDHNLHRKHTGHUFIDRILSINRIRRJMDKESKGSKHRKPWKYDKZTLAKLBPLKRLRDLSLMADMDLMGAMKDMMKMNTMOPMRUMURMVRMWKMXNMYRMZNNADNGNNIONOKNPRNZDPABPENPGKPHPPKRPLNQARRONRSDRUBSARSBDSCRSDGSEKSGDSHPSLESOSSRDSSPSTNSVCSYPSZLTHBTJSTMTTOPTRYTTDTWDTZSUAHUSDUYUUZSVEFVESWMBWMEWMKWMUWMZWSTXCDXTSYERZARZMKZMWZWL"

func twoDigits(code string) bool {
	if len(code) != 3 {
		return false
	}
	low, high := 0, len(national)/3
	for low < high {
		mid := (low + high) / 2
		switch at := national[mid*3 : mid*3+3]; {
		case at == code:
			return true
		case at < code:
			low = mid + 1
		default:
			high = mid
		}
	}
	return false
}

// ValidCurrency tells whether code has the form of a currency: 3 to 10 of A-Z 0-9 - _ .
func ValidCurrency(code string) bool {
	if len(code) < 3 || len(code) > 10 {
		return false
	}
	for i := range len(code) {
		c := code[i]
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// ValidReference tells whether id has the form of a reference ID: 1 to 64 of A-Z a-z 0-9 . _ -
func ValidReference(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}
