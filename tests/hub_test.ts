/**
 * Downloads from a loopback hub: what is fetched, what is refused, what the cache does.
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { InputError, SourceError } from "../errors.ts";
import { removeCached } from "../runtime/hub/inventory.ts";
import { lockFile } from "../runtime/hub/lock.ts";
import type {} from "../runtime/hub/part_file.ts";
import { fetchModel, resolveModel } from "../runtime/hub/resolve.ts";
import { bench, content, filesUnder, inTurn, TOKEN, TUNING, wholeFiles } from "./hub_bench.ts";
import type { Fault, Seen } from "./hub_server.ts";

Deno.test("resolveModel() downloads over several connections, checks, and does not download twice", async () => {
  await using test = await bench();
  const bytes = content(700_001);
  const commit = test.hub.push("org/repo", {
    "a.json": "{}",
    "b.json": "{}",
    "m-Q8_0.gguf": bytes,
    "m-Q2_K.gguf": content(99),
  });
  test.hub.token = TOKEN;
  test.hub.fault = ({ server }) => (server === "cdn" ? { slowMs: 4 } : undefined);
  const stages: string[] = [];
  const path = await test.get("hf:org/repo:q8_0", {
    token: TOKEN,
    onProgress: ({ phase, loaded, total, file }) =>
      void stages.push(`${phase} ${loaded} ${total} ${file}`),
  });
  assert(path.endsWith(`/files/${commit}/m-Q8_0.gguf`));
  assertEquals(await Deno.readFile(path), bytes);
  assertEquals(stages.at(-1), "verify 700001 700001 m-Q8_0.gguf");
  assert(test.hub.busiest >= 2 && test.hub.busiest <= 4, `${test.hub.busiest} connections`);
  assertEquals(test.hub.sentByCdn(), bytes.length, "every byte once");
  // The token went to the hub with every request, and to the storage host with none.
  for (const { server, headers } of test.hub.seen) {
    assertEquals(headers.has("authorization"), server === "hub");
    assertEquals(headers.get("accept-encoding"), "identity");
  }
  assertEquals((await filesUnder(test.dir)).filter((path) => path.includes("/partial/")), []);
  test.hub.reset();
  test.hub.token = TOKEN;
  assertEquals(await test.get("hf:org/repo:Q8_0", { token: TOKEN }), path);
  assertEquals(test.hub.sentByCdn(), 0);
  test.hub.reset();
  assertEquals(await test.get(`hf:org/repo@${commit}:Q8_0`), path);
  assertEquals(test.hub.seen.length, 0, "a commit that is here needs no network");
});

Deno.test("resolveModel() fetches a safetensors repository as a directory", async () => {
  await using test = await bench();
  const files = {
    "config.json": "{}",
    "tokenizer.json": '{"a":1}',
    "model.safetensors": content(100_000),
    "added_tokens.json": "",
  };
  test.hub.push("org/repo", { ...files, "pytorch_model.bin": content(1000), "README.md": "no" });
  const model = await fetchModel("hf:org/repo", {
    cacheDir: test.dir,
    endpoint: `${test.hub.endpoint}/`,
    tuning: TUNING,
  });
  assertEquals(
    Array.from(Deno.readDirSync(model.path), ({ name }) => name).sort(),
    Object.keys(files).sort(),
  );
  assertEquals(await Deno.readFile(`${model.path}/model.safetensors`), files["model.safetensors"]);
  assertEquals(await Deno.readTextFile(`${model.path}/tokenizer.json`), files["tokenizer.json"]);
  assertEquals(model.files.length, 4);
  assertEquals(model.downloaded, 100_000 + 2 + 7);
});

Deno.test("resolveModel() tells refusals apart and never shows the token or a signature", async () => {
  await using test = await bench();
  test.hub.push("org/repo", { "m-Q4_0.gguf": content(1000) });
  const onHub = (fault: Fault, at = "/api/") =>
  (
    { server, path }: Seen,
  ) => (server === "hub" && path.includes(at) ? fault : undefined);
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const closed = `http://127.0.0.1:${listener.addr.port}/x?X-Signature=s3cr3t-signature`;
  listener.close();
  const cases: [
    string,
    (request: Seen) => Fault | undefined,
    typeof SourceError | typeof InputError,
    RegExp,
  ][] = [
    [
      "hf:org/repo",
      onHub({ status: 401, headers: { "x-error-code": "RepoNotFound" } }),
      SourceError,
      /401.*does not exist or is private.*HF_TOKEN/,
    ],
    [
      "hf:org/repo",
      onHub({ status: 403, headers: { "x-error-code": "GatedRepo" } }),
      SourceError,
      /403 \(gated\).*accept the terms/,
    ],
    [
      "hf:org/repo",
      onHub({ status: 403, headers: { "x-error-code": "GatedRepo" } }, "/resolve/"),
      SourceError,
      /"m-Q4_0\.gguf" of hf:org\/repo.*gated/,
    ],
    ["hf:org/none", () => undefined, SourceError, /404.*no such thing/],
    ["hf:org/repo@v9", () => undefined, SourceError, /404.*no such revision/],
    ["hf:org/repo:Q8_0", () => undefined, InputError, /there is Q4_0/],
    ["hf:org/repo", onHub({ status: 410 }), SourceError, /410/],
    ["hf:org/repo", onHub({ status: 500 }), SourceError, /500.*after 5 tries/],
    [
      "hf:org/repo",
      onHub({ status: 200, text: "<html>log in</html>" }),
      SourceError,
      /does not answer as a hub does/,
    ],
    [
      "hf:org/repo",
      onHub({ status: 200, text: "{}" }),
      SourceError,
      /does not answer as a hub does/,
    ],
    [
      "hf:org/repo",
      onHub({ status: 200, text: '[{"type":"file","path":"../../x","size":1}]' }, "/tree/"),
      SourceError,
      /the path "\.\.\/\.\.\/x"/,
    ],
    [
      "hf:org/repo",
      onHub({ status: 200, text: '[{"type":"file","path":"x","size":-1}]' }, "/tree/"),
      SourceError,
      /the size/,
    ],
    [
      "hf:org/repo",
      onHub({ status: 200, text: '[{"type":"file","path":"x","size":1}]' }, "/tree/"),
      SourceError,
      /the hash/,
    ],
    [
      "hf:org/repo",
      onHub({ status: 302, headers: { location: "/api/models/org/repo" } }),
      SourceError,
      /redirects more than 10 times/,
    ],
    [
      "hf:org/repo",
      onHub({ status: 302, headers: { location: "file:///etc/passwd" } }),
      SourceError,
      /not secure/,
    ],
    [
      "hf:org/repo",
      inTurn(...Array(99).fill({ status: 403, text: "expired" })),
      SourceError,
      /403 \(after 9 tries\)/,
    ],
    [
      "hf:org/repo",
      inTurn(...Array(99).fill({ cutAfter: -1 })),
      SourceError,
      /m-Q4_0.*after 9 tries/,
    ],
    [
      "hf:org/repo",
      onHub({ status: 302, headers: { location: closed } }, "/resolve/"),
      SourceError,
      /127\.0\.0\.1:\d+: .*refused.*after 9 tries/,
    ],
    ["hf:org/repo", inTurn(...Array(99).fill({ status: 404 })), SourceError, /404/],
  ];
  for (const [spec, fault, type, message] of cases) {
    test.hub.fault = fault;
    const error = await assertRejects(() => test.get(spec, { token: TOKEN }), type);
    assertMatch(error.message, message);
    assert(
      !`${error.stack} ${Deno.inspect(error)}`.includes(TOKEN) &&
        !error.message.includes("s3cr3t-signature"),
      error.message,
    );
    assert(!error.message.endsWith("."));
    assertEquals(await wholeFiles(test.dir), []);
    await removeCached(test.dir, "hf:org/repo", new URL(test.hub.endpoint)).catch(() => {}); // listings too
  }
  await assertRejects(
    () => test.get("hf:org/repo", { token: "two words" }),
    InputError,
    "access token",
  );
  await assertRejects(
    () => test.get("hf:org/repo", { endpoint: "nonsense" }),
    InputError,
    "endpoint",
  );
  await assertRejects(() => test.get("hf:org/repo", { connections: 0 }), InputError, "connections");
  await assertRejects(() => resolveModel("hf:org/repo"), InputError, "cache directory");
  await assertRejects(() => test.get("org/repo"), SourceError, 'write "hf:org/repo"');
});

Deno.test("resolveModel() works with servers that have no ranges", async () => {
  await using test = await bench();
  const bytes = content(500_000);
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes });
  const faults: Fault[] = [{ cutAfter: 300_000 }, { stallAfter: 200_000 }, { status: 500 }, {}];
  test.hub.fault = (
    { server },
  ) => (server === "cdn" ? { ...faults.shift(), ignoreRange: true } : undefined);
  assertEquals(await Deno.readFile(await test.get("hf:org/repo")), bytes);
  // A close in place of the end, and no length to notice it by: the listing's size tells.
  for (const ignoreRange of [true, false]) {
    test.hub.push("org/close", { "m-Q4_0.gguf": content(100_000, Number(ignoreRange)) });
    const fault = { noLength: true, ignoreRange };
    test.hub.fault = inTurn(...Array(6).fill({ ...fault, cutAfter: 1000 }), fault, fault, fault);
    test.hub.seen.length = 0;
    await test.get("hf:org/close", { connections: 1 });
    assert(test.hub.seen.filter(({ server }) => server === "cdn").length >= 7);
  }
  // Chosen without a hash, a stream's own end is all there is to go by.
  test.hub.plain.set("/m.gguf", { bytes, headers: {} });
  test.hub.fault = inTurn({ ignoreRange: true, cutAfter: 1000 }, { ignoreRange: true });
  assertEquals(await Deno.readFile(await test.get(`${test.hub.cdn}/m.gguf`)), bytes);
  test.hub.fault = () => ({ ignoreRange: true, noLength: true });
  await assertRejects(
    () => test.get(`${test.hub.cdn}/m.gguf?2`),
    SourceError,
    "does not say how long",
  );
});

Deno.test("resolveModel() refuses a wrong length and a wrong hash, and keeps nothing of them", async () => {
  await using test = await bench();
  const bytes = content(200_000);
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes, "config.json": '{"a":1}' });
  const always = (fault: Fault) =>
  (
    { server, path }: Seen,
  ) => (server === "cdn" || path.includes("/resolve/") && path.endsWith(".json")
    ? fault
    : undefined);
  const cases: [string, Fault, RegExp][] = [
    ["hf:org/repo", { longerBy: 10 }, /sends 200010 bytes, but 200000 was announced/],
    ["hf:org/repo", { longerBy: -10 }, /sends 199990 bytes, but 200000 was announced/],
    ["hf:org/repo", { longerBy: 10, ignoreRange: true }, /sends 200010 bytes/],
    ["hf:org/repo", { damage: true }, /SHA-256 is [0-9a-f]{64}, but [0-9a-f]{64} was announced/],
    ["hf:org/repo", { damage: true, ignoreRange: true }, /SHA-256 is/],
  ];
  for (const [spec, fault, message] of cases) {
    test.hub.fault = always(fault);
    const error = await assertRejects(() => test.get(spec), SourceError);
    assertMatch(error.message, message);
    assertEquals(await wholeFiles(test.dir), []);
    assertEquals((await filesUnder(test.dir)).filter((path) => path.endsWith(".part")), []);
  }
  test.hub.fault = () => undefined;
  const stop = new AbortController();
  const onProgress = ({ loaded }: { loaded: number }) => loaded > 70_000 && stop.abort();
  await assertRejects(() => test.get("hf:org/repo", { signal: stop.signal, onProgress }));
  test.hub.fault = always({ longerBy: 10 });
  await assertRejects(() => test.get("hf:org/repo"), SourceError, "sends 200010 bytes");
  test.hub.fault = inTurn(undefined, { damage: true });
  assertEquals(await Deno.readFile(await test.get("hf:org/repo")), bytes, "damage once is healed");
  // Small files are checked by git's own hash.
  test.hub.push("org/small", { "config.json": '{"a":1}', "model.safetensors": content(10) });
  test.hub.fault = always({ damage: true });
  await assertRejects(() => test.get("hf:org/small"), SourceError, "git blob id is");
  // A hub that contradicts its own listing is stopped before the large download.
  test.hub.reset();
  test.hub.push("org/lie", { "m-Q4_0.gguf": content(200_000, 9) });
  const location = `${test.hub.cdn}/org/lie/x`;
  test.hub.fault = ({ path }) =>
    path.includes("/resolve/")
      ? { status: 302, headers: { location, "x-linked-etag": `"${"0".repeat(64)}"` } }
      : path.startsWith("/org/lie/x")
      ? { status: 200 }
      : undefined;
  await assertRejects(() => test.get("hf:org/lie"), SourceError, "but serves 0000");
});

Deno.test("resolveModel() works offline from the cache, and falls back to it with a warning", async () => {
  await using test = await bench();
  const bytes = content(1000);
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes, "m-Q8_0.gguf": content(9) });
  await assertRejects(
    () => test.get("hf:org/repo", { offline: true }),
    SourceError,
    "not whole in the cache",
  );
  assertEquals(test.hub.seen.length, 0);
  const path = await test.get("hf:org/repo");
  test.hub.reset();
  assertEquals(await test.get("hf:org/repo", { offline: true }), path);
  await assertRejects(
    () => test.get("hf:org/repo:Q8_0", { offline: true }),
    SourceError,
    "not whole in the cache",
  );
  await assertRejects(
    () => test.get(`${test.hub.cdn}/x.gguf`, { offline: true }),
    SourceError,
    "not in the cache",
  );
  assertEquals(test.hub.seen.length, 0);
  test.hub.fault = () => ({ cutAfter: -1 });
  const warnings: string[] = [];
  assertEquals(
    await test.get("hf:org/repo", { onWarning: (message) => void warnings.push(message) }),
    path,
  );
  assertMatch(warnings.join(), /using the copy of hf:org\/repo that is here/);
  // The hub's own answer is no reason to look elsewhere.
  test.hub.fault = () => ({ status: 401 });
  await assertRejects(() => test.get("hf:org/repo"), SourceError, "401");
});

Deno.test("resolveModel() carries unchanged files over when a branch moves", async () => {
  await using test = await bench();
  const bytes = content(200_000);
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes, "README.md": "one" });
  const old = await test.get("hf:org/repo");
  const commit = test.hub.push("org/repo", {
    "m-Q4_0.gguf": bytes,
    "README.md": "two",
    "copy/m-Q4_1.gguf": bytes,
  });
  test.hub.reset();
  const path = await test.get("hf:org/repo");
  assert(path !== old && path.includes(commit));
  assertEquals(await Deno.readFile(path), bytes);
  assertEquals(await Deno.readFile(await test.get("hf:org/repo:Q4_1")), bytes);
  assertEquals(test.hub.sentByCdn(), 0);
  assertEquals(await test.get("hf:org/repo", { offline: true }), path);
});

Deno.test("resolveModel() takes plain URLs, split files, and no web pages", async () => {
  await using test = await bench();
  const parts = [content(80_000, 1), content(70_000, 2)];
  parts.forEach((bytes, i) =>
    test.hub.plain.set(`/dir/m-0000${i + 1}-of-00002.gguf`, { bytes, headers: { etag: `"${i}"` } })
  );
  const model = await fetchModel(`${test.hub.cdn}/dir/m-00001-of-00002.gguf?key=s3cret`, {
    cacheDir: test.dir,
    tuning: TUNING,
    token: TOKEN,
  });
  assertEquals(model.files.map(({ size }) => size), [80_000, 70_000]);
  const folder = model.path.slice(0, model.path.lastIndexOf("/"));
  for (const [i, bytes] of parts.entries()) {
    assertEquals(await Deno.readFile(`${folder}/m-0000${i + 1}-of-00002.gguf`), bytes);
  }
  assert(
    test.hub.seen.every(({ headers }) => !headers.has("authorization")),
    "a plain URL's host is not the endpoint",
  );
  for (const path of (await filesUnder(test.dir)).filter((path) => path.endsWith(".json"))) {
    assert(!(await Deno.readTextFile(path)).includes("s3cret"));
  }
  test.hub.reset();
  assertEquals(await test.get(`${test.hub.cdn}/dir/m-00001-of-00002.gguf?key=s3cret`), model.path);
  assertEquals(test.hub.seen.length, 0);
  test.hub.plain.set("/page", {
    bytes: content(10),
    headers: { "content-type": "text/html; charset=utf-8" },
  });
  await assertRejects(() => test.get(`${test.hub.cdn}/page`), SourceError, "a web page");
  // A hub's own link announces the hash, and a plain URL is held to it.
  test.hub.push("org/repo", { "m-Q4_0.gguf": parts[0] });
  assertEquals(
    await Deno.readFile(await test.get(`${test.hub.endpoint}/org/repo/resolve/main/m-Q4_0.gguf`)),
    parts[0],
  );
  test.hub.fault = ({ server }) => (server === "cdn" ? { damage: true } : undefined);
  await assertRejects(
    () => test.get(`${test.hub.endpoint}/org/repo/resolve/main/m-Q4_0.gguf?again`),
    SourceError,
    "SHA-256",
  );
});

Deno.test("lockFile() excludes, waits, and can be told to stop waiting", async () => {
  const dir = await Deno.makeTempDir();
  const order: string[] = [];
  const entered = Promise.withResolvers<void>(), waits = Promise.withResolvers<void>();
  const hold = async (name: string, until: Promise<void>) => {
    using _lock = await lockFile(`${dir}/x.lock`, undefined, () => {
      order.push(`${name} waits`);
      waits.resolve();
    });
    order.push(`${name} in`);
    entered.resolve();
    await until;
    order.push(`${name} out`);
  };
  const first = hold("a", waits.promise);
  await entered.promise;
  await Promise.all([first, hold("b", Promise.resolve())]);
  assertEquals(order, ["a in", "b waits", "a out", "b in", "b out"]);
  {
    using _lock = await lockFile(`${dir}/x.lock`);
    await assertRejects(() => lockFile(`${dir}/x.lock`, AbortSignal.timeout(50)), DOMException);
  }
  assertEquals(await filesUnder(dir), []);
  // Many at once: the lock file comes and goes, the exclusion stays.
  let inside = 0;
  await Promise.all(Array.from({ length: 12 }, async () => {
    using _lock = await lockFile(`${dir}/y.lock`);
    assertEquals(++inside, 1);
    await Promise.resolve();
    inside--;
  }));
  // A holder that removes its lock file between another's open and lock leaves that one a dead name.
  const { tryLock } = Deno.FsFile.prototype;
  let removed = false;
  Deno.FsFile.prototype.tryLock = function (exclusive) {
    if (!removed) Deno.removeSync(`${dir}/z.lock`);
    removed = true;
    return tryLock.call(this, exclusive);
  };
  try {
    using lock = await lockFile(`${dir}/z.lock`);
    assert((await Deno.stat(lock.path)).isFile, "the lock is on a name that others will find");
  } finally {
    Deno.FsFile.prototype.tryLock = tryLock;
  }
  await Deno.remove(dir, { recursive: true });
});
