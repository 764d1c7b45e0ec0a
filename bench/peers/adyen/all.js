import { AdyenCheckout, Dropin } from "@adyen/adyen-web/auto";
import "@adyen/adyen-web/styles/adyen.css";

// The form that knows every method of the package, which is what its CDN serves.
const checkout = await AdyenCheckout({ environment: "test", clientKey: "test_BENCHBENCHBENCHBENCHBENCHBENCH", countryCode: "DE" });
new Dropin(checkout).mount("#pay");
