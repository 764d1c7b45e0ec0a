import { AdyenCheckout, Dropin, Card, SepaDirectDebit, MBWay, Blik, BankTransfer, Redirect } from "@adyen/adyen-web";
import "@adyen/adyen-web/styles/adyen.css";

// Ten methods: cards, transfers, a phone number, a code, and plain redirects.
const redirects = { ideal: "iDEAL", trustly: "Trustly", alipay: "AliPay", paysafecard: "paysafecard", wechatpayWeb: "WeChat Pay" };
const paymentMethodsResponse = {
	paymentMethods: [
		{ type: "scheme", name: "Cards", brands: ["visa", "mc"] },
		{ type: "sepadirectdebit", name: "SEPA Direct Debit" },
		{ type: "mbway", name: "MB WAY" },
		{ type: "blik", name: "BLIK" },
		{ type: "bankTransfer_IBAN", name: "Bank Transfer (SEPA)" },
		...Object.entries(redirects).map(([type, name]) => ({ type, name })),
	],
};
const checkout = await AdyenCheckout({
	environment: "test", clientKey: "test_BENCHBENCHBENCHBENCHBENCHBENCH", locale: "en-US", countryCode: "DE",
	amount: { value: 4250, currency: "EUR" }, analytics: { enabled: false }, showPayButton: true,
	paymentMethodsResponse, onSubmit() {}, onAdditionalDetails() {}, onError() {},
});
new Dropin(checkout, {
	openFirstPaymentMethod: false, paymentMethodComponents: [Card, SepaDirectDebit, MBWay, Blik, BankTransfer, Redirect],
}).mount("#pay");
