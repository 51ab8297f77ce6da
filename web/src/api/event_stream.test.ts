// The parser of server-sent events.
import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStream } from "./event_stream.ts";

const kStream = 'data: {"a":"né€😀"}\n\n: ping\n\ndata:one\r\ndata: two\r\n\r\nevent: x\nid: 7\ndata: last\r\rdata\n\ndata: [DONE]\n\ndata: cut';
const kEvents = ['{"a":"né€😀"}', "one\ntwo", "last", "", "[DONE]"];

const read = (pieces: Uint8Array[]) => {
  const events = new EventStream();
  return pieces.flatMap((piece) => events.push(piece));
};

test("a stream in one piece gives its events, without comments and what is cut off", () => {
  assert.deepEqual(read([new TextEncoder().encode(kStream)]), kEvents);
});

test("a split at any byte changes nothing", () => {
  const bytes = new TextEncoder().encode(kStream);
  for (let at = 0; at <= bytes.length; at++) {
    assert.deepEqual(read([bytes.subarray(0, at), bytes.subarray(at)]), kEvents, `split at ${at}`);
  }
});

test("single bytes give the same events", () => {
  assert.deepEqual(read([...new TextEncoder().encode(kStream)].map((byte) => Uint8Array.of(byte))), kEvents);
});
