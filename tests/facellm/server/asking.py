"""What the tests of the server send, and how."""

import httpx

from tests.paths import EXAMPLES

JSON = {"content-type": "application/json"}
CLIENT = httpx.Client(timeout=300)  # one for all: each new one reads the certificates of the world
PORTRAIT = EXAMPLES / "hopper.jpg"


def conversation(address, question="Hi"):
    parts = [{"type": "image_url", "image_url": {"url": address}}, {"type": "text", "text": question}]
    return [{"role": "user", "content": parts}]


def post(server, body, path="/chat/completions", **options):
    return CLIENT.post(server.url + path, json=body, **options)


def data_uri_of(body):
    return body["messages"][0]["content"][0]["image_url"]["url"]


def form(schema):
    return {"type": "json_schema", "json_schema": {"name": "face", "schema": schema, "strict": True}}
