"""A shop's server in Python: opens checkout sessions, shows a page with the widget, hears
webhooks and fulfils each order exactly once. Standard library only."""

import base64
import binascii
import hashlib
import hmac
import html
import json
import os
import re
import secrets
import signal
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def setting(name):
    value = os.environ.get(name)
    if not value:
        raise SystemExit(name + " is not set")
    return value


BFF_API = setting("BFF_API")
BFF_PUBLIC_URL = setting("BFF_PUBLIC_URL")
MERCHANT_KEY = setting("MERCHANT_KEY")
WEBHOOK_SECRET = setting("WEBHOOK_SECRET")
PORT = int(os.environ.get("PORT", "3000"))
ORDERS = os.environ.get("ORDERS", "orders")
HOME = os.environ.get("SHOP_URL") or f"http://localhost:{PORT}"

# ---- orders: one file each, replaced as a whole; a shop has a database

changing = threading.Lock()


def path(reference):
    return os.path.join(ORDERS, reference + ".json")


def load(reference):
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", reference):
        return None
    try:
        with open(path(reference), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def save(order):
    new = path(order["reference"]) + ".new"
    with open(new, "w", encoding="utf-8") as file:
        json.dump(order, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path(order["reference"]))


def new_order():
    order = {"reference": "order-" + secrets.token_hex(8), "amount": 39.0, "currency": "EUR",
             "status": "open", "revision": 0, "fulfilled": 0, "events": []}
    with changing:
        save(order)
    return order


# ---- the BFF


def open_session(order):
    """Safe to repeat: the same reference and body give the same session."""
    body = json.dumps({
        "reference_id": order["reference"],
        "amount": order["amount"],
        "currency": order["currency"],
        "description": "Lamp Kobza",
        "return_url": f"{HOME}/?order={order['reference']}",
    }).encode()
    request = urllib.request.Request(BFF_API + "/v1/sessions", data=body, method="POST", headers={
        "Authorization": "Bearer " + MERCHANT_KEY,
        "Content-Type": "application/json",
    })
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


class Forged(Exception):
    pass


def verify(secret, headers, body, now):
    """Standard Webhooks by hand. With the library (pip install standardwebhooks) it is

        standardwebhooks.Webhook(secret).verify(body, dict(headers))
    """
    event_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not event_id or not re.fullmatch(r"[0-9]{1,15}", timestamp):
        raise Forged("headers are missing")
    if abs(now - int(timestamp)) > 300:
        raise Forged("too old, or from the future")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{event_id}.{timestamp}.".encode() + body
    want = hmac.new(key, signed, hashlib.sha256).digest()
    # While secrets are being changed there are several signatures.
    for signature in headers.get("webhook-signature", "").split():
        version, _, text = signature.partition(",")
        try:
            got = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
        if version == "v1" and hmac.compare_digest(got, want):
            return
    raise Forged("no signature fits")


def hear(event_id, event):
    """Applies one webhook. What the event does and that it was heard are written in one
    step, so that it counts once, however often it comes and wherever the shop crashes."""
    with changing:
        order = load(event["data"]["reference_id"])
        if order is None or event_id in order["events"]:
            return
        order["events"].append(event_id)
        if event["data"]["revision"] > order["revision"]:
            order["revision"] = event["data"]["revision"]
            order["status"] = event["data"]["status"]
        if event["type"] == "session.paid" and not order["fulfilled"]:
            order["fulfilled"] += 1  # whoever packs lamps reads this
            print("fulfil " + order["reference"], flush=True)
        save(order)


# ---- HTTP

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Lamp shop</title>
<h1>Lamp “Kobza”, €39.00</h1>
<p>Order {order}: {status}</p>
<div id="pay"></div>
<script async src="{base}/widget/v1/checkout.js" data-session="{token}" data-target="#pay"></script>
</html>"""


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/":
            query = urllib.parse.parse_qs(url.query)
            order = load(query.get("order", [""])[0]) or new_order()
            session = open_session(order)
            return self.send(200, "text/html; charset=utf-8", PAGE.format(
                order=html.escape(order["reference"]), status=html.escape(order["status"]),
                base=html.escape(BFF_PUBLIC_URL), token=html.escape(session["token"])))
        if url.path.startswith("/orders/"):
            order = load(url.path.removeprefix("/orders/"))
            if order:
                return self.json({"order": order["reference"], "status": order["status"], "fulfilled": order["fulfilled"]})
        self.send(404, "text/plain", "not found\n")

    def do_POST(self):
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > 1 << 20:
            self.close_connection = True
            return self.send(413, "text/plain", "body too large\n")
        body = self.rfile.read(int(length))
        if self.path == "/session":  # for pages built apart: examples/react, vue, svelte, html
            order = new_order()
            return self.json({"order": order["reference"], "base": BFF_PUBLIC_URL, "session": open_session(order)["token"]})
        if self.path == "/webhook":
            try:
                verify(WEBHOOK_SECRET, self.headers, body, time.time())
            except Forged:
                return self.send(401, "text/plain", "not signed by the BFF\n")
            hear(self.headers["webhook-id"], json.loads(body))  # raises: 500, and the BFF sends it again
            return self.send(204, "text/plain", "")
        self.send(404, "text/plain", "not found\n")

    def json(self, value):
        self.send(200, "application/json", json.dumps(value))

    def send(self, status, kind, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except Exception as err:
            self.log_error("%s", err)
            self.close_connection = True
            if getattr(self, "command", None):
                self.send(500, "text/plain", "the shop has a problem\n")

    def log_request(self, *args):
        pass


if __name__ == "__main__":
    os.makedirs(ORDERS, exist_ok=True)
    server = ThreadingHTTPServer(("", PORT), Shop)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("shop on " + HOME, flush=True)
    server.serve_forever()
