#!/usr/bin/env python3
"""Heads of requests: what two parsers could read in two ways is refused, methods and routes get the right status."""
import json

from harness import CHAT, FRANCE, checked_error, claim, request, run

CHUNKED = "Transfer-Encoding: chunked"
TYPE = "Content-Type: application/json"
BODY = json.dumps({**FRANCE, "max_tokens": 1}).encode()


CLOSE = "Connection: close"
LAST = request("GET", "/health", None, [CLOSE])


def statuses(server, data):
    """The statuses of all responses to the bytes, until the server closes."""
    found = []
    with server.client() as client:
        client.send(data)
        while response := client.response():
            found.append(response[0])
            if response[0] >= 400:
                checked_error(response[0], response[2])
    return found


@claim
def F27_smuggled_requests_are_refused_and_the_connection_closed(server):
    """The second request of the bytes must never be seen as one: the first answer is 400 or 501 and the last."""
    for fields, body in (
            (["Content-Length: 5", CHUNKED], b"0\r\n\r\n"),
            ([CHUNKED, "Content-Length: 5"], b"0\r\n\r\n"),
            (["Content-Length: 0", f"Content-Length: {len(LAST)}"], b""),
            (["Content-Length: 3", "Content-Length: 3"], b"abc"),
            (["Content-Length: 3, 3"], b"abc"),
            (["Content-Length: +3"], b"abc"),
            (["Content-Length: -1"], b""),
            (["Content-Length: 0x3"], b"abc"),
            (["Content-Length: 3 3"], b"abc"),
            (["Content-Length: 18446744073709551619"], b"abc"),
            (["Content-Length: 1e1"], b"abc"),
            (["Content-Length:"], b""),
            ([CHUNKED, CHUNKED], b"0\r\n\r\n"),
            (["Transfer-Encoding: gzip, chunked"], b"0\r\n\r\n"),
            (["Transfer-Encoding: chunked, identity"], b"0\r\n\r\n"),
            (["Transfer-Encoding: xchunked"], b"0\r\n\r\n"),
            (["Transfer-Encoding: \x0bchunked"], b"0\r\n\r\n"),
            (["Transfer-Encoding : chunked"], b"0\r\n\r\n"),
            ([" Transfer-Encoding: chunked"], b"0\r\n\r\n"),
            (["X: a", " Content-Length: 5"], b"abcde"),
            (["X: a", "\tb"], b""),
            (["X: a\nContent-Length: 5"], b"abcde"),
            (["X: a\rContent-Length: 5"], b"abcde"),
            (["X: a\0b"], b""),
            (["X: a\x7fb"], b""),
            (["X\0: a"], b""),
            (["no colon"], b""),
            ([": no name"], b""),
            (["Host: localhost", "Host: localhost"], b""),
    ):
        found = statuses(server, request("POST", CHAT, None, fields) + body + LAST)
        assert found in ([400], [501]), (fields, found)


@claim
def F27_malformed_chunks_are_refused_and_the_connection_closed(server):
    for body in (b"g\r\nab\r\n0\r\n\r\n", b"-1\r\nab\r\n0\r\n\r\n", b"+2\r\nab\r\n0\r\n\r\n", b" 2\r\nab\r\n0\r\n\r\n",
                 b"2 \r\nab\r\n0\r\n\r\n", b"0x2\r\nab\r\n0\r\n\r\n", b"2\nab\n0\n\n", b"2\r\nabc\r\n0\r\n\r\n",
                 b"3\r\nab\r\n0\r\n\r\n", b"ffffffffffffffff1\r\nab", b"\r\nab\r\n0\r\n\r\n", b"2;a\nb\r\nab\r\n0\r\n\r\n",
                 b"2;" + b"a" * 5000 + b"\r\nab\r\n0\r\n\r\n", b"0\r\n" + b"T: t\r\n" * 4000 + b"\r\n"):
        found = statuses(server, request("POST", CHAT, None, [CHUNKED, TYPE]) + body + LAST)
        assert found == [400], (body[:40], found)
    assert statuses(server, request("POST", CHAT, None, [CHUNKED, TYPE]) + b"ffffffffffffffff\r\nab") == [413]


@claim
def well_formed_chunks_are_read(server):
    pieces = b"".join(b"%x;ext=1\r\n%c\r\n" % (1, c) for c in BODY)
    data = request("POST", CHAT, None, [CHUNKED, TYPE]) + pieces + b"0\r\nTrailer: x\r\n\r\n" + LAST
    assert statuses(server, data) == [200, 200]


@claim
def request_lines_must_be_whole(server):
    for line, status in ((b"GET /health HTTP/2.0", 505), (b"GET /health HTTP/1.2", 505), (b"GET /health", 400),
                         (b"GET  /health HTTP/1.1", 400), (b"GET /health HTTP/1.1 ", 400), (b"GET /he alth HTTP/1.1", 400),
                         (b"G(T /health HTTP/1.1", 400), (b"GET health HTTP/1.1", 400), (b" GET /health HTTP/1.1", 400),
                         (b"GET\t/health\tHTTP/1.1", 400), (b"\0", 400), (b"GET /health HTTP/1.1\0", 400),
                         (b"GET /health#x HTTP/1.1", 400), (b"\x16\x03\x01\x02\0\x01\0\x01", 400)):
        assert statuses(server, line + b"\r\nHost: localhost\r\n\r\n") == [status], line
    assert statuses(server, b"GET /health HTTP/1.1\r\n\r\n") == [400], "no Host"
    assert statuses(server, b"GET /health HTTP/1.1\nHost: localhost\n\n") == [400], "bare LF"
    assert statuses(server, b"GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n" + LAST) == [200, 200]
    assert statuses(server, b"\r\n\r\nGET /health HTTP/1.0\r\n\r\n") == [200]


@claim
def F9_heads_have_an_end(server):
    assert statuses(server, request("GET", "/health", None, ["X: " + "a" * 33000])) == [431]
    assert statuses(server, b"GET /health HTTP/1.1\r\nX: " + b"a" * 33000) == [431], "no waiting for its end"
    assert statuses(server, request("GET", "/health", None, [f"X-{i}: a" for i in range(100)])) == [431]
    assert statuses(server, request("GET", "/" + "a" * 9000)) == [414]
    assert statuses(server, request("GET", "/health", None, [f"X-{i}: " + "a" * 300 for i in range(98)]) + LAST) == [200, 200]


@claim
def F11_no_byte_of_a_head_makes_a_5xx(server):
    """Bytes that are no UTF-8 come back in messages as something that is."""
    for byte in range(1, 256):
        if byte in b"\r\n":
            continue
        for data in (b"GET /a%cb HTTP/1.1\r\nHost: localhost", b"GET /v1/models/a%cb HTTP/1.1\r\nHost: localhost",
                     b"GET / HTTP/1.1\r\nHost: a%cb", b"A%cB / HTTP/1.1\r\nHost: localhost",
                     b"GET /health HTTP/1.1\r\nHost: localhost\r\nOrigin: a%cb\r\nX-Request-Id: a%cb"):
            found = statuses(server, data % ((byte,) * data.count(b"%c")) + b"\r\nConnection: close\r\n\r\n")
            assert len(found) == 1 and found[0] < 500, (byte, data, found)


@claim
def wrong_methods_get_405_and_unknown_routes_404(server):
    for method, path, allowed in (("GET", CHAT, "POST"), ("DELETE", CHAT, "POST"), ("PUT", "/v1/completions", "POST"),
                                  ("POST", "/v1/models", "GET"), ("POST", "/health", "GET"), ("PATCH", "/", "GET"),
                                  ("GET", "/v1/requests/x", "DELETE"), ("HEAD", CHAT, "POST"), ("BREW", "/metrics", "GET")):
        with server.client() as client:
            client.ask(method, path)
            status, fields, body = client.response(method)
            assert status == 405 and allowed in fields["allow"].split(", "), (method, path, status, fields)
            if method != "HEAD":
                checked_error(status, body)
    for method, path in (("GET", "/nothing"), ("POST", "/v1/chat/completions/"), ("GET", "/V1/models"), ("GET", "//"),
                         ("OPTIONS", "/nothing"), ("DELETE", "/v1/requests/"), ("GET", "/v1/models/none"),
                         ("DELETE", "/v1/requests/none")):
        status, _, text = server.ask(method, path)
        checked_error(status, text, 404)


@claim
def HEAD_and_OPTIONS_are_answered(server):
    with server.client() as client:
        for path in ("/", "/health", "/v1/models", "/metrics", "/props", "/version", "/ready"):
            client.ask("HEAD", path)
            status, fields, body = client.response("HEAD")
            assert status == 200 and int(fields["content-length"]) > 0 and body == b"", path
            client.ask("OPTIONS", path)
            status, fields, _ = client.response("OPTIONS")
            assert status == 204 and fields["allow"] == "GET, HEAD, OPTIONS", (path, fields)
        client.ask("OPTIONS", "*")
        assert client.response("OPTIONS")[0] == 204
        client.ask("OPTIONS", CHAT)
        assert client.response("OPTIONS")[1]["allow"] == "POST, OPTIONS"


@claim
def F27_paths_lead_nowhere_else(server):
    for path in ("/../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/etc/passwd", "/./", "/index.html/../../etc/passwd",
                 "/v1/models/..", "/v1/models/..%2f..%2fetc%2fpasswd", "/v1/models/%00", "/v1/models/%ff%fe",
                 "/etc/passwd", "/%"):
        status, _, text = server.ask("GET", path)
        checked_error(status, text, 404)
        assert "root:" not in text


@claim
def F27_a_request_id_cannot_write_headers(server):
    for sent, kept in (("mine-1.2_3", True), ("a" * 65, False), ("a b", False), ("a%0d%0aX: y", False), ("\xe4", False)):
        with server.client() as client:
            client.ask("GET", "/health", None, [f"X-Request-Id: {sent}"])
            _, fields, _ = client.response()
            assert (fields["x-request-id"] == sent) == kept and "x" not in fields, fields
            assert kept or fields["x-request-id"].startswith("req-")


@claim
def kept_connections_are_reused(server):
    """Also after refusals whose body could be read to its end."""
    with server.client() as client:
        for _ in range(50):
            for method, path, body, status in (("GET", "/health", None, 200), ("POST", CHAT, b"{", 400),
                                               ("POST", "/nothing", BODY, 404), ("GET", CHAT, None, 405),
                                               ("POST", CHAT, BODY, 200), ("POST", "/v1/embeddings", BODY, 501)):
                client.ask(method, path, body)
                found, fields, _ = client.response()
                assert found == status and fields["connection"] == "keep-alive", (path, found, fields)


@claim
def pipelined_requests_are_answered_in_their_order(server):
    with server.client() as client:
        client.send(b"".join(request("GET", path) for path in ["/version", "/nothing", "/health"] * 200))
        for _ in range(200):
            assert b"version" in client.response()[2]
            assert client.response()[0] == 404
            assert b"ok" in client.response()[2]


@claim
def clients_that_close_are_closed(server):
    for data in (request("GET", "/health", None, ["Connection: close"]), b"GET /health HTTP/1.0\r\n\r\n"):
        with server.client() as client:
            client.send(data)
            status, fields, _ = client.response()
            assert status == 200 and fields["connection"] == "close" and client.closed()
    with server.client() as client:
        client.send(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
        assert client.response()[0] == 200 and client.response()[0] == 200


@claim
def a_body_is_asked_for_where_the_client_waits_for_that(server):
    with server.client() as client:
        head, body = request("POST", CHAT, BODY, ["Expect: 100-continue"]).split(b"\r\n\r\n", 1)
        client.send(head + b"\r\n\r\n")
        assert client.head() == (100, {})
        client.send(body)
        assert client.response()[0] == 200
    with server.client() as client:
        client.ask("POST", "/nothing", None, ["Expect: 100-continue", "Content-Length: 10"])
        assert client.response()[0] == 404 and client.closed(), "what is refused anyway is not asked for"


if __name__ == "__main__":
    run()
