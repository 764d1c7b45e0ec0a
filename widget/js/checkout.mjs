// The module: import { mount } from "…/widget/v1/checkout.mjs". Importing it touches
// neither window nor document, so that a server may.
const home = import.meta.url;

%%include:_core.js%%

if (typeof window != "undefined") define();

export { mount };
export default { mount };
