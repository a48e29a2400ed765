#!/usr/bin/env python3
"""A webhook source for Hogsend in Python, with nothing but the standard library.

It speaks the plugin protocol (docs/plugin-protocol.md): messages of JSON-RPC 2.0 on standard input and
output, each after its length as four bytes. Hogsend starts it because plugins.toml names it.
"""

import base64
import hmac
import json
import struct
import sys
from hashlib import sha256

# The plugin protocol's error codes.
NO_METHOD, BAD_INPUT = 1, 2

MANIFEST = {
    "id": "python-shop",
    "version": "1.0.0",
    "api": "1.0.0",
    "kinds": ["event_source"],
    "settings": [
        {"name": "SHOP_WEBHOOK_SECRET", "help": "from the shop's webhook page", "secret": True}
    ],
    "webhook_secret": "SHOP_WEBHOOK_SECRET",
    "sample_webhook": '{"id":"{uuid}","type":"order.placed","customer":{"email":"ann@example.com"}}',
}


class Refused(Exception):
    """A webhook to refuse: what `Err` holds."""


class Shop:
    """The plugin: reads the shop's webhooks."""

    def __init__(self, settings):
        self.secret = settings.get("SHOP_WEBHOOK_SECRET")

    def read(self, webhook):
        body = body_bytes(webhook["body"])
        if self.secret is not None:
            given = dict(map(tuple, webhook["headers"])).get("x-shop-signature", "")
            expected = hmac.new(self.secret.encode(), body, sha256).hexdigest()
            if not hmac.compare_digest(given.encode(), expected.encode()):
                raise Refused({"unauthorized": {"reason": "the signature is not that of the body"}})
        try:
            order = json.loads(body)
            kind, customer = order["type"], order["customer"]
        except (ValueError, KeyError, TypeError) as error:
            raise Refused({"invalid": {"details": f"this is not an order: {error!r}"}}) from None
        if kind == "ping":
            return {"skipped": {"reason": "a ping of the shop"}}
        event = {
            "name": kind,
            "dedupe_key": order.get("id"),
            "user_id": customer.get("id"),
            "email": customer.get("email"),
            "properties": {"total": order.get("total")},
        }
        return {"events": [event]}


def body_bytes(body):
    """Bytes are `{"text": …}` where they are UTF-8, else `{"base64": …}`."""
    return body["text"].encode() if "text" in body else base64.b64decode(body["base64"])


class Plugin:
    """Answers the messages of the protocol."""

    def __init__(self):
        self.shop = None

    def handle(self, method, params):
        if method == "handshake":
            return {"protocol": 1, "manifest": MANIFEST}
        if method == "create":
            self.shop = Shop(params["settings"])
            return None
        if method == "event_source.read":
            try:
                return {"done": {"Ok": self.shop.read(params["input"])}}
            except Refused as refused:
                return {"done": {"Err": refused.args[0]}}
        raise NotImplementedError(f"this plugin has no method {method}")


def receive(stream):
    """The next message; None once Hogsend has closed the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    return json.loads(stream.read(struct.unpack(">I", head)[0]))


def send(stream, message):
    data = json.dumps({"jsonrpc": "2.0", **message}).encode()
    stream.write(struct.pack(">I", len(data)) + data)
    stream.flush()


def main():
    plugin = Plugin()
    while (request := receive(sys.stdin.buffer)) is not None:
        answer = {"id": request["id"]}
        try:
            answer["result"] = plugin.handle(request["method"], request.get("params"))
        except NotImplementedError as error:
            answer["error"] = {"code": NO_METHOD, "message": str(error)}
        except Exception as error:  # One bad call must not end the process.
            answer["error"] = {"code": BAD_INPUT, "message": repr(error)}
        send(sys.stdout.buffer, answer)


if __name__ == "__main__":
    main()
