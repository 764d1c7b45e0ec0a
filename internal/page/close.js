// The page that a provider leads back to: a window that the widget opened closes, since
// the page that opened it hears the outcome by itself; any other goes on to the shop.
(function () {
  "use strict";
  var next = document.documentElement.getAttribute("data-next");
  function go() { if (next) location.replace(next); }
  if (/^wzrd/.test(window.name)) {
    window.close();
    setTimeout(go, 500); // a browser that does not let it close goes on
  } else {
    go();
  }
})();
