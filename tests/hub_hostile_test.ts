/** Hubs and servers that mean ill, or are broken beyond what networks do: limits hold, and say so. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { InputError, SourceError } from "../errors.ts";
import { repoDir } from "../runtime/hub/cache.ts";
import { listCache, removeCached } from "../runtime/hub/inventory.ts";
import { loadJournal, newJournal } from "../runtime/hub/journal.ts";
import { fetchModel } from "../runtime/hub/resolve.ts";
import { isSafeName, isSafePath } from "../runtime/files/safe_path.ts";
import { bench, content, filesUnder, random, TUNING, wholeFiles } from "./hub_bench.ts";
import type { Fault, Seen } from "./hub_server.ts";

/** A fault of everything whose path has `part` in it. */
function at(part: string, fault: Fault | ((request: Seen) => Fault | undefined)) {
  return (request: Seen) =>
    !request.path.includes(part) ? undefined : typeof fault === "function" ? fault(request) : fault;
}

const rss = () => Deno.memoryUsage().rss;

Deno.test("pull: an announced size is checked before anything is made for it", async () => {
  await using test = await bench();
  test.hub.plain.set("/m.gguf", { bytes: content(1000), headers: { etag: '"one"' } });
  const url = `${test.hub.cdn}/m.gguf`;
  for (
    const [headers, status] of [
      [{ "content-range": `bytes 0-999/${2 ** 50}` }, 206],
      [{ "content-range": `bytes 0-999/${"9".repeat(400)}` }, 206],
      [{ "content-length": String(2 ** 50) }, 200],
    ] as const
  ) {
    test.hub.fault = () => ({ headers, ignoreRange: status === 200 });
    const before = rss();
    const error = await assertRejects(() => test.get(url), SourceError);
    assertMatch(error.message, /the server announces \S+ bytes, expected at most 8796093022208;/);
    assert(rss() - before < 200e6, `${rss() - before} bytes were taken`);
    assertEquals(await filesUnder(test.dir), []);
  }
  const error = await assertRejects(
    () => test.get(`${test.hub.cdn}/m-00001-of-09999.gguf`),
    InputError,
  );
  assertMatch(error.message, /one of 9999 parts, expected at most 1000/);
});

Deno.test("pull: what the disk has no room for is refused before it is fetched", async () => {
  await using test = await bench();
  const bytes = content(300_000);
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes });
  test.hub.plain.set("/m.gguf", { bytes, headers: { etag: '"one"' } });
  const freeBytes = () => Promise.resolve(200_000);
  for (const spec of ["hf:org/repo", `${test.hub.cdn}/m.gguf`]) {
    test.hub.reset();
    const error = await assertRejects(() => test.get(spec, { freeBytes }), SourceError);
    assertMatch(
      error.message,
      /takes 300 kB, but the disk of ".*" has 200 kB free; free some space/,
    );
    assertEquals(await wholeFiles(test.dir), []);
    if (spec.startsWith("hf:")) assertEquals(test.hub.sentByCdn(), 0);
  }
  await test.get("hf:org/repo", { freeBytes: () => Promise.resolve(300_000) });
  // What is here already takes no room, nor does what another commit has.
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes, "README.md": "new" });
  await test.get("hf:org/repo", { freeBytes: () => Promise.resolve(0) });
  await test.get("hf:org/repo", { freeBytes: () => Promise.resolve(undefined) });
});

Deno.test("a journal of a very large file stays small", async () => {
  const journal = newJournal(2 ** 43, 16 << 20, "", "");
  assert(journal.done.length <= 8192);
  assertEquals(newJournal(100, 30, "", "").done.length, 4);
  const dir = await Deno.makeTempDir();
  await Deno.writeFile(`${dir}/x.part`, new Uint8Array(10));
  const text = JSON.stringify({
    ...journal,
    segmentBytes: 1,
    size: 9000,
    done: Array(9000).fill(0),
  });
  await Deno.writeTextFile(`${dir}/x.json`, text);
  assertEquals(await loadJournal(`${dir}/x.part`), undefined);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("pull: bodies without end stop at the announced size", async () => {
  await using test = await bench();
  test.hub.push("org/repo", { "m-Q4_0.gguf": content(100_000) });
  test.hub.plain.set("/m.gguf", { bytes: content(1000), headers: { etag: '"one"' } });
  const url = `${test.hub.cdn}/m.gguf`;
  const tuning = { ...TUNING, retries: 1 };
  // Of a hub the listing says how long a file is, whatever the storage host sends.
  for (const ignoreRange of [true, false]) {
    test.hub.fault = ({ server }) => server === "cdn" ? { endless: true, ignoreRange } : undefined;
    test.hub.seen.length = 0;
    await assertRejects(() => test.get("hf:org/repo", { tuning }), SourceError);
    await test.hub.settle();
    assert(test.hub.sentByCdn() < 60e6, `${test.hub.sentByCdn()} bytes were read`);
  }
  // Of a plain URL nothing does; then the room on the disk is the end.
  test.hub.reset();
  test.hub.fault = () => ({ endless: true, ignoreRange: true });
  const freeBytes = () => Promise.resolve(10e6);
  const error = await assertRejects(() => test.get(url, { tuning, freeBytes }), SourceError);
  assertMatch(error.message, /does not say how long it is, and goes on after 8\d+ bytes/);
  const kept = (await filesUnder(test.dir)).filter((path) => path.includes("/url/"));
  assertEquals(kept, []);
});

Deno.test("pull: listings without end, in circles, too large or too slow are given up", async () => {
  await using test = await bench();
  const entry = (path: string) => ({ type: "file", path, size: 1, oid: "0".repeat(40) });
  const page = (entries: unknown, next: string): Fault => ({
    status: 200,
    text: JSON.stringify(entries),
    headers: { link: `<${test.hub.endpoint}${next}>; rel="next"` },
  });
  test.hub.push("org/repo", { "m-Q4_0.gguf": content(10) });
  let n = 0;
  const cases: [string, Fault | (() => Fault), RegExp][] = [
    ["empty pages", () => page([], `/api/models/org/repo/tree/${n++}`), /more than 1000 pages/],
    [
      "pages of directories",
      () => page([{ ...entry("a"), type: "directory" }], `/api/models/org/repo/tree/${n++}`),
      /more than 1000 pages/,
    ],
    [
      "one large page after another",
      () => page(Array(20_000).fill(entry("a".repeat(100))), `/api/models/org/repo/tree/${n++}`),
      /more than 16777216 bytes|more than 100000 entries/,
    ],
    ["a page of many entries", page(Array(200_000).fill({}), "/x"), /more than 100000 entries/],
    ["a circle", page([], "/api/models/org/repo/tree/circle"), /in a circle/],
    ["a page that never ends", { endless: true, status: 200 }, /more than 16777216 bytes/],
    ["nesting", { status: 200, text: "[".repeat(1e6) }, /does not answer as a hub does/],
    ["no list", { status: 200, text: "7" }, /does not answer as a hub does/],
    ["no entries", { status: 200, text: "[null, 7]" }, /no GGUF, safetensors or torch file/],
    [
      "sizes",
      { status: 200, text: JSON.stringify([{ ...entry("a.gguf"), size: 2 ** 50 }]) },
      /the size of "a.gguf", 1125899906842624 bytes/,
    ],
  ];
  for (const [name, fault, message] of cases) {
    test.hub.fault = at("/tree/", fault);
    test.hub.seen.length = 0;
    const error = await assertRejects(() => test.get("hf:org/repo"), SourceError, undefined, name);
    assertMatch(error.message, message, name);
    assert(error.message.length < 1000, name);
    assert(test.hub.seen.length <= 1010, `${name}: ${test.hub.seen.length} requests`);
    await test.hub.settle();
  }
  test.hub.fault = at("/tree/", () => page([], `/api/models/org/repo/tree/${n++}`));
  await assertRejects(
    () => test.get("hf:org/repo", { tuning: { ...TUNING, lookupMs: 30 } }),
    SourceError,
    "for more than 0.03 s",
  );
});

Deno.test("pull: a trickle is given up, of a file and of a listing", async () => {
  await using test = await bench();
  test.hub.push("org/repo", { "m-Q4_0.gguf": content(100_000) });
  const tuning = { ...TUNING, slowMs: 150, slowRate: 1000 };
  for (const part of ["/tree/", "m-Q4_0"]) {
    test.hub.fault = at(part, { trickleMs: 10 });
    test.hub.seen.length = 0;
    const error = await assertRejects(() => test.get("hf:org/repo", { tuning }), SourceError);
    assertMatch(error.message, /sends less than 1000 bytes a second \(after 2 tries\)/);
    assert(test.hub.seen.length < 20);
  }
  // Slow, but not that slow; and a consumer's own pauses do not count.
  test.hub.fault = at("m-Q4_0", { slowMs: 20 });
  const pause = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  await test.get("hf:org/repo", { tuning, onProgress: pause });
});

Deno.test("pull: compressed answers are refused, and bombs are not unpacked", async () => {
  await using test = await bench();
  const zeros = new Blob([new Uint8Array(100e6)]).stream();
  const bomb = await new Response(zeros.pipeThrough(new CompressionStream("gzip"))).bytes();
  test.hub.push("org/repo", { "m-Q4_0.gguf": content(1000) });
  test.hub.plain.set("/m.gguf", { bytes: bomb, headers: {} });
  const headers = { "content-encoding": "gzip" };
  test.hub.fault = () => ({ headers, ignoreRange: true });
  for (const spec of ["hf:org/repo", `${test.hub.cdn}/m.gguf`]) {
    const before = rss();
    const error = await assertRejects(() => test.get(spec), SourceError);
    assertMatch(error.message, /in coding "gzip", which was not asked for/);
    assert(rss() - before < 90e6);
  }
});

Deno.test("pull: redirects in circles, to credentials and to nowhere are refused without secrets", async () => {
  await using test = await bench();
  test.hub.push("org/repo", { "m-Q4_0.gguf": content(1000) });
  const tuning = { ...TUNING, retries: 1, firstRetries: 1 };
  for (
    const location of [
      "/org/repo/resolve/main/m-Q4_0.gguf?X-Amz-Signature=s3cr3t",
      "http://user:s3cr3t@127.0.0.1:1/x?sig=s3cr3t",
      "http://127.0.0.1:1/x?X-Amz-Signature=s3cr3t",
      "javascript:s3cr3t",
      "http://[s3cr3t",
    ]
  ) {
    test.hub.fault = at("/resolve/", { status: 302, headers: { location } });
    const error = await assertRejects(() => test.get("hf:org/repo", { tuning }), SourceError);
    assert(
      !`${error.message}${error.stack}${Deno.inspect(error)}`.includes("s3cr3t"),
      error.message,
    );
  }
});

Deno.test("pull: a model is not removed under the hands of those who wait for it or fetch its files", async () => {
  await using test = await bench();
  const endpoint = new URL(test.hub.endpoint);
  const split = (i: number) => `m-Q4_0-0000${i}-of-00002.gguf`;
  test.hub.push("org/repo", { [split(1)]: content(100_000, 1), [split(2)]: content(100_000, 2) });
  // When each file begins; then the slow server leaves time to try.
  test.hub.fault = ({ server }) => server === "cdn" ? { slowMs: 150 } : undefined;
  const files = new Set<string>();
  const refused: unknown[] = [];
  const attempts: Promise<void>[] = [];
  await test.get("hf:org/repo", {
    connections: 1,
    onProgress({ file }) {
      if (files.has(file)) return;
      files.add(file);
      const attempt = removeCached(test.dir, "hf:org/repo", endpoint);
      attempts.push(attempt.then(() => {}, (error) => void refused.push(error)));
    },
  });
  await Promise.all(attempts);
  assertEquals(attempts.length, 2);
  assertEquals(refused.length, attempts.length, "one was removed while it was fetched");
  for (const error of refused) {
    assert(error instanceof InputError && /another process is downloading it/.test(error.message));
  }
  // Two pulls, and somebody who removes in between and during: each pull ends with a whole model.
  const next = random(3);
  test.hub.fault = ({ server }) =>
    server === "cdn" ? { slowMs: 1 + Math.floor(next() * 4) } : undefined;
  for (let round = 0; round < 6; round++) {
    let over = false;
    const remover = (async () => {
      while (!over) {
        await removeCached(test.dir, "hf:org/repo", endpoint).catch((error) => {
          assert(error instanceof InputError, String(error));
        });
        await new Promise((resolve) => setTimeout(resolve, 1 + next() * 4));
      }
    })();
    const pulls = [0, 1].map(async () => {
      const options = { cacheDir: test.dir, endpoint, tuning: TUNING };
      const model = await fetchModel("hf:org/repo", options);
      assertEquals(model.files.length, 2);
    });
    const ends = await Promise.allSettled(pulls);
    over = true;
    await remover;
    for (const end of ends) {
      // One may be told that the model went away once the other was done; nothing is half there.
      if (end.status === "rejected") {
        assertMatch(String(end.reason), /removed from the cache meanwhile/);
      }
    }
    await test.get("hf:org/repo");
    assertEquals((await wholeFiles(test.dir)).length, 2);
    await removeCached(test.dir, "hf:org/repo", endpoint);
    assertEquals(await listCache(test.dir), []);
  }
});

Deno.test("the cache: links in circles, foreign names and damaged listings do no harm", async () => {
  await using test = await bench();
  const endpoint = new URL(test.hub.endpoint);
  const commit = test.hub.push("org/repo", { "m-Q4_0.gguf": content(100) });
  await test.get("hf:org/repo");
  const dir = repoDir(test.dir, endpoint, "org/repo");
  const outside = await Deno.makeTempDir();
  await Deno.writeTextFile(`${outside}/kept`, "kept");
  for (const name of ["one", "two"]) await Deno.symlink(".", `${dir}/files/${commit}/${name}`);
  await Deno.symlink(outside, `${dir}/files/${commit}/outside`);
  await Deno.writeTextFile(`${dir}/refs/100%`, commit);
  const entries = await listCache(test.dir);
  assertEquals(entries.map(({ files }) => files.map(({ path }) => path)), [["m-Q4_0.gguf"]]);
  // A listing that somebody wrote into the cache is believed no more than a hub's.
  const evil = (path: string) =>
    JSON.stringify([{ path, size: 4, algorithm: "git-sha1", hash: "0".repeat(40) }]);
  for (
    const text of [
      evil("../../../kept.gguf"),
      evil("/etc/x.gguf"),
      "[null]",
      "{}",
      "7",
      '[{"path":7}]',
    ]
  ) {
    await Deno.writeTextFile(`${dir}/listings/${commit}.json`, text);
    assert((await test.get("hf:org/repo")).endsWith(`/files/${commit}/m-Q4_0.gguf`));
    await Deno.writeTextFile(`${dir}/listings/${commit}.json`, text);
    await assertRejects(() => test.get("hf:org/repo", { offline: true }), SourceError);
  }
  await removeCached(test.dir, "hf:org/repo", endpoint);
  assertEquals(await Deno.readTextFile(`${outside}/kept`), "kept");
  await Deno.remove(outside, { recursive: true });
});

Deno.test("isSafePath() refuses what leaves the folder or cannot be a file on some system", () => {
  for (
    const path of [
      ...["a", "a/b.gguf", "日本語/é 🐦.gguf", ".gitattributes", "a..b/c...d", "x".repeat(255)],
      ...[
        "con_figuration.json",
        "auxiliary/nullable.txt",
        "com10.txt",
        "m-Q4_0-00001-of-00002.gguf",
      ],
    ]
  ) assert(isSafePath(path), path);
  for (
    const path of [
      ...[
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "./a",
        "a/..",
        "...",
        "a./b",
        "a /b",
        "a\u00a0",
      ],
      ...["a\\b", "\\\\host\\share", "c:", "C:\\a", "a:b", "a*", "a?", 'a"', "a|b", "<a>"],
      ...["a\0", "a\n", "\x1b[31m", "a\x7f", "a\x80", "a\x9b2J", "a\u2028b"],
      ...["con", "NUL", "aux.json", "a/Prn", "com1", "LPT9.txt", "com¹", "conin$", "nul .txt"],
      ...["\ud800", "a/\udc00b", "x".repeat(256), "é".repeat(128), "a/".repeat(600) + "a"],
    ]
  ) assert(!isSafePath(path), path);
  assert(isSafeName("a") && !isSafeName("a/b"));
});

Deno.test("a listing with a name that is no file's is refused, unless nobody would want the file", async () => {
  await using test = await bench();
  const bytes = content(10);
  test.hub.push("org/repo", { "m.gguf": bytes, "a: b.png": "x", "docs/aux.md": "x" });
  assertEquals(await Deno.readFile(await test.get("hf:org/repo")), bytes);
  for (
    const path of [
      "../x.md",
      "a/../../x.md",
      "/etc/passwd",
      "a//b",
      "aux.gguf",
      "\x1b]0;x\x07.json",
    ]
  ) {
    test.hub.push("org/bad", { "m.gguf": bytes, [path]: "x" });
    const error = await assertRejects(() => test.get("hf:org/bad"), SourceError, "the path");
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x1f\x7f-\x9f]/.test(error.message));
  }
});

Deno.test("fuzz: whatever a hub answers, a model comes whole or one typed error does", async () => {
  await using test = await bench();
  const bytes = content(150_000);
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes, "config.json": "{}" });
  const pieces = [
    ...[
      "[",
      "]",
      "{",
      "}",
      '"',
      ",",
      ":",
      "null",
      "1e999",
      "-1",
      "\\ud800",
      "\x1b]52;c;Zg==\x07",
      "a".repeat(300),
    ],
    ...[
      '{"type":"file","path":"m.gguf","size":5,"oid":"',
      '{"sha":"',
      "0".repeat(40),
      "<html>",
      "[[[[",
      "\u0000",
    ],
  ];
  const names = [
    "content-range",
    "content-length",
    "etag",
    "location",
    "link",
    "x-linked-etag",
    "retry-after",
    "content-type",
    "x-error-code",
  ];
  const values = [
    ...[
      "",
      "0",
      "-1",
      "99999999999999999999",
      "bytes 0-9/10",
      "bytes 5-3/*",
      "bytes */10",
      '"e"',
      "W/x",
    ],
    ...[
      "/",
      "//",
      "http://127.0.0.1:1/",
      "?",
      "<>; rel=next",
      "text/html",
      "\x1b[31m",
      "é",
      "a b",
      "f".repeat(64),
    ],
  ];
  let whole = 0, failed = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const next = random(seed);
    const pick = <T>(of: readonly T[]): T => of[Math.floor(next() * of.length)];
    const fault = (): Fault => {
      const kind = next();
      if (kind < 0.4) return { headers: { [pick(names)]: pick(values) } };
      if (kind < 0.7) {
        return {
          status: 200,
          text: Array.from({ length: 1 + next() * 6 }, () => pick(pieces)).join(""),
        };
      }
      return {
        status: pick([200, 204, 206, 301, 302, 304, 400, 404, 418, 451, 500, 599]),
        headers: { [pick(names)]: pick(values) },
        text: pick(pieces),
      };
    };
    test.hub.fault = () => next() < 0.35 ? fault() : undefined;
    try {
      const tuning = { ...TUNING, retries: 2, stallMs: 100, backoffMs: 1 };
      const path = await test.get("hf:org/repo", {
        tuning,
        token: "hf_abcdefghijklmnopqrstuvwxyz0123",
      });
      if (path.endsWith("m-Q4_0.gguf")) {
        assertEquals((await Deno.readFile(path)).length, bytes.length);
      }
      whole++;
    } catch (error) {
      if (!(error instanceof SourceError || error instanceof InputError)) {
        throw new Error(`seed ${seed}: ${error}`, { cause: error });
      }
      // deno-lint-ignore no-control-regex
      assert(!/[\x00-\x1f\x7f-\x9f]/.test(error.message), error.message);
      assert(error.message.length < 1500 && !error.message.includes("abcdefgh"), error.message);
      failed++;
    }
    test.hub.fault = () => undefined;
    await removeCached(test.dir, "hf:org/repo", new URL(test.hub.endpoint)).catch(() => {});
  }
  assert(whole > 5 && failed > 20, `${whole} whole, ${failed} failed`);
});
