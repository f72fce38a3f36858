/**
 * Downloads against a loopback hub that misbehaves like networks do: nothing lost, nothing wrong served.
 */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { hubOptionsFromEnv } from "../cli/hub_env.ts";
import { describeProgress, formatBytes, formatTime, progressLine } from "../cli/progress.ts";
import { InputError, SourceError } from "../errors.ts";
import type { PartWriter } from "../runtime/hub/part_file.ts";
import { fetchModel, resolveModel, type ResolveOptions } from "../runtime/hub/resolve.ts";
import { listCache, removeCached } from "../runtime/hub/inventory.ts";
import { lockFile } from "../runtime/hub/lock.ts";
import { type HubFile, quantTag, selectFiles } from "../runtime/hub/select.ts";
import { formatSpec, type HubSpec, parseModelSpec } from "../runtime/hub/spec.ts";
import { type Fault, hex, type Seen, TestHub } from "./hub_server.ts";

const ROOT = new URL("../", import.meta.url).pathname;
const TUNING = { retries: 8, backoffMs: 2, maxWaitMs: 40, stallMs: 250, segmentBytes: 64 << 10 };
const TOKEN = "hf_t0p-s3cret";

/** Mulberry32: the same faults on every run. */
function random(seed: number): () => number {
  return () => {
    let t = seed += 0x6d2b79f5;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function content(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const next = random(seed), bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = next() * 256;
  return bytes;
}

interface Bench extends AsyncDisposable {
  readonly hub: TestHub;
  readonly dir: string;
  /** `resolveModel` with this bench's hub, cache and patience. */
  get(spec: string, options?: Partial<ResolveOptions>): Promise<string>;
}

async function bench(): Promise<Bench> {
  const hub = new TestHub();
  const dir = await Deno.makeTempDir({ prefix: "sparrow_hub_" });
  return {
    hub,
    dir,
    get: (spec, options) =>
      resolveModel(spec, { cacheDir: dir, endpoint: hub.endpoint, tuning: TUNING, ...options }),
    async [Symbol.asyncDispose]() {
      await hub[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    },
  };
}

/** Faults on the storage host, once each, in order of its requests. */
function inTurn(...faults: (Fault | undefined)[]): (request: Seen) => Fault | undefined {
  return ({ server }) => (server === "cdn" ? faults.shift() : undefined);
}

async function filesUnder(dir: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(dir)) {
    if (entry.isDirectory) found.push(...await filesUnder(`${dir}/${entry.name}`));
    else found.push(`${dir}/${entry.name}`);
  }
  return found;
}

/** What the cache offers as whole. */
async function wholeFiles(dir: string): Promise<string[]> {
  return (await filesUnder(dir)).filter((path) => path.includes("/files/"));
}

Deno.test("parseModelSpec() reads every form", () => {
  assertEquals(parseModelSpec("hf:Qwen/Qwen3-0.6B-GGUF:Q8_0"), {
    kind: "hub",
    repo: "Qwen/Qwen3-0.6B-GGUF",
    pick: "Q8_0",
  });
  assertEquals(parseModelSpec("hf:a/b@refs/pr/1:sub/x.gguf"), {
    kind: "hub",
    repo: "a/b",
    revision: "refs/pr/1",
    pick: "sub/x.gguf",
  });
  assertEquals(parseModelSpec("HF:a/b@v1.0"), { kind: "hub", repo: "a/b", revision: "v1.0" });
  assertEquals(parseModelSpec("./models/x.gguf"), { kind: "path", path: "./models/x.gguf" });
  assertEquals(parseModelSpec("C:\\models\\x.gguf"), { kind: "path", path: "C:\\models\\x.gguf" });
  assertEquals(parseModelSpec("file:///a%20b/x.gguf"), { kind: "path", path: "/a b/x.gguf" });
  const url = parseModelSpec("https://example.com/x.gguf?key=1#top");
  assertEquals(url.kind === "url" && url.url.href, "https://example.com/x.gguf?key=1");
  assertEquals(formatSpec(url), "https://example.com/x.gguf");
  for (const text of ["hf:a/b", "hf:a/b@main", "hf:a/b@v1:Q4_0", "hf:a/b:Q4_0"]) {
    assertEquals(formatSpec(parseModelSpec(text)), text);
  }
});

Deno.test("parseModelSpec() names what is wrong and the form", () => {
  const bad = [
    "",
    "  ",
    "hf:",
    "hf:qwen",
    "hf:a/b/c",
    "hf:../b",
    "hf:a/..",
    "hf:a/b@",
    "hf:a/b@../x",
    "hf:a/b:",
    "hf:a/b:../x",
    "hf:a/b:/etc/x",
    "ftp://a/b",
    "https://",
  ];
  for (const text of bad) {
    const error = assertThrows(() => parseModelSpec(text), InputError);
    assertStringIncludes(error.message, "hf:ORG/REPO[@REVISION][:FILE-or-QUANT-TAG]");
  }
  const error = assertThrows(
    () => parseModelSpec("https://me:pass@example.com/x.gguf"),
    InputError,
  );
  assert(!error.message.includes("pass@") && error.message.includes("https://example.com"));
});

function listing(...paths: string[]): HubFile[] {
  return paths.map((path, i) => ({
    path,
    size: 1000 + i,
    algorithm: "sha256",
    hash: hex("sha256", new TextEncoder().encode(path)),
  }));
}

function pick(spec: string, ...paths: string[]): string[] {
  const { entry, files } = selectFiles(parseModelSpec(spec) as HubSpec, listing(...paths));
  return [entry, ...files.map(({ path }) => path)];
}

Deno.test("selectFiles() chooses a GGUF file by name, by tag, or by the order of preference", () => {
  const repo = [
    "README.md",
    "m-F16.gguf",
    "m-Q4_K_M.gguf",
    "m-q8_0.gguf",
    "m-UD-Q4_K_XL.gguf",
    "mmproj-m-F16.gguf",
    "imatrix.gguf",
  ];
  assertEquals(pick("hf:a/b", ...repo), ["m-Q4_K_M.gguf", "m-Q4_K_M.gguf"]);
  assertEquals(pick("hf:a/b", "m-Q4_0.gguf", ...repo)[0], "m-Q4_0.gguf");
  assertEquals(pick("hf:a/b", "model.gguf", "config.json")[0], "model.gguf");
  for (const tag of ["Q8_0", "q8_0", "m-q8_0.gguf", "M-Q8_0.GGUF", "m-q8_0"]) {
    assertEquals(pick(`hf:a/b:${tag}`, ...repo)[0], "m-q8_0.gguf");
  }
  assertEquals(pick("hf:a/b:ud-q4_k_xl", ...repo)[0], "m-UD-Q4_K_XL.gguf");
  assertEquals(pick("hf:a/b:fp16", ...repo)[0], "m-F16.gguf");
  const parts = ["x/m-Q4_0-00001-of-00002.gguf", "x/m-Q4_0-00002-of-00002.gguf"];
  assertEquals(pick("hf:a/b:Q4_0", parts[1], parts[0]), [parts[0], ...parts]);
  assertEquals(pick("hf:a/b:m-Q4_0-00002-of-00002.gguf", ...parts), [parts[0], ...parts]);
  assertEquals(
    ["a.Q5_K_M.gguf", "BF16/a-00001-of-00002.gguf", "a-7b.gguf", "a_IQ3_XXS.gguf"].map(quantTag),
    ["Q5_K_M", "BF16", "", "IQ3_XXS"],
  );
});

Deno.test("selectFiles() lists what there is when the pick fits nothing or too much", () => {
  const unknown = assertThrows(() => pick("hf:a/b:Q2_K", "m-Q4_0.gguf", "m-Q8_0.gguf"), InputError);
  assertMatch(
    unknown.message,
    /"Q2_K" fits no GGUF file; there is Q4_0 \(m-Q4_0\.gguf\), Q8_0 \(m-Q8_0\.gguf\)/,
  );
  const ambiguous = assertThrows(
    () => pick("hf:a/b:Q4_0", "a-Q4_0.gguf", "b-Q4_0.gguf", "b-Q8_0.gguf"),
    InputError,
  );
  assertMatch(
    ambiguous.message,
    /more than one GGUF file; there is Q4_0 \(a-Q4_0\.gguf\), Q4_0 \(b-Q4_0\.gguf\)$/,
  );
  assertThrows(
    () => pick("hf:a/b", "a-Q4_0.gguf", "b-Q4_0.gguf"),
    InputError,
    "none is the plain choice",
  );
  assertThrows(
    () => pick("hf:a/b", "m-Q4_0-00001-of-00003.gguf", "m-Q4_0-00003-of-00003.gguf"),
    SourceError,
    "split in 3 parts",
  );
  assertThrows(() => pick("hf:a/b", "pytorch_model.bin"), SourceError, "no GGUF or safetensors");
});

Deno.test("selectFiles() takes a safetensors repository once and whole", () => {
  const support = [
    "config.json",
    "tokenizer.json",
    "tokenizer.model",
    "merges.txt",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "1_Pooling/config.json",
  ];
  const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  const rest = [
    "README.md",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "flax_model.msgpack",
    "consolidated.safetensors",
    "onnx/model.onnx",
    "original/params.json",
    "tf_model.h5",
  ];
  assertEquals(
    pick("hf:a/b", ...rest, ...shards, ...support).sort(),
    ["", ...support, ...shards].sort(),
  );
  assertEquals(pick("hf:a/b", "model.safetensors", ...shards), ["", "model.safetensors"]);
  assertEquals(pick("hf:a/b:safetensors", "m-Q4_0.gguf", "model.safetensors"), [
    "",
    "model.safetensors",
  ]);
});

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
  await assertRejects(() => test.get("org/repo"), SourceError, "write hf:org/repo");
});

Deno.test("resolveModel() brings every byte through cuts, stalls, 500s, 429s and expired links", async () => {
  await using test = await bench();
  for (let seed = 1; seed <= 12; seed++) {
    const next = random(seed);
    const bytes = content(200_000 + Math.floor(next() * 400_000), seed);
    test.hub.push(`org/repo${seed}`, { "m-Q4_0.gguf": bytes, "config.json": "{}" });
    let stalls = 2; // each costs a stall timeout
    test.hub.fault = ({ server }) => {
      const dice = next();
      if (dice < 0.25) return { cutAfter: Math.floor(next() * 65_536) };
      if (dice < 0.35) return { cutAfter: -1 };
      if (dice < 0.45) return { status: [500, 502, 503, 504][Math.floor(next() * 4)] };
      if (dice < 0.5) return { status: 429, headers: { "retry-after": "0" } };
      if (dice < 0.55 && server === "cdn") return { status: 403, text: "Request has expired" };
      if (dice < 0.6 && stalls-- > 0) return { stallAfter: Math.floor(next() * 65_536) - 1 };
      return undefined;
    };
    const path = await test.get(`hf:org/repo${seed}`, {
      tuning: { ...TUNING, retries: 30, backoffMs: 1, maxWaitMs: 3 },
      connections: 1 + seed % 5,
    });
    assertEquals(hex("sha256", await Deno.readFile(path)), hex("sha256", bytes), `seed ${seed}`);
  }
});

Deno.test("resolveModel() honours Retry-After up to its own ceiling", async () => {
  await using test = await bench();
  test.hub.push("org/a", { "m-Q4_0.gguf": content(1000) });
  test.hub.fault = inTurn({ status: 429, headers: { "retry-after": "1" } }, {
    status: 503,
    headers: { "retry-after": "86400" },
  });
  await test.get("hf:org/a", { tuning: { ...TUNING, maxWaitMs: 1100 } });
  const [first, second, third] = test.hub.seen.filter(({ server }) => server === "cdn");
  assert(second.at - first.at >= 990, `waited ${second.at - first.at} ms of 1000`);
  assert(third.at - second.at >= 1090, `waited ${third.at - second.at} ms of 1100`);
});

Deno.test("resolveModel() goes on where it was cut, over calls", async () => {
  await using test = await bench();
  const bytes = content(640_000);
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes });
  const stop = new AbortController();
  test.hub.fault = ({ server }) => (server === "cdn" ? { slowMs: 2 } : undefined);
  const reason = new Error("enough for today");
  const options: Partial<ResolveOptions> = {
    signal: stop.signal,
    onProgress: ({ loaded }) => loaded > 300_000 && stop.abort(reason),
  };
  assertEquals(await assertRejects(() => test.get("hf:org/repo", options)), reason);
  assertEquals(await wholeFiles(test.dir), []);
  test.hub.reset();
  const model = await fetchModel("hf:org/repo", {
    cacheDir: test.dir,
    endpoint: test.hub.endpoint,
    tuning: TUNING,
  });
  assertEquals(await Deno.readFile(model.path), bytes);
  assertEquals(test.hub.sentByCdn(), model.downloaded, "only what was missing");
  assert(model.downloaded <= 340_000 && model.downloaded > 0, `${model.downloaded} bytes`);
});

Deno.test("resolveModel() starts over when the file changed between two calls", async () => {
  await using test = await bench();
  const before = content(300_000, 1), after = content(310_000, 2);
  const url = `${test.hub.cdn}/some/m.gguf`;
  const half = async (spec: string) => {
    test.hub.reset();
    const stop = new AbortController();
    test.hub.fault = ({ server }) => (server === "cdn" ? { slowMs: 2 } : undefined);
    await assertRejects(() =>
      test.get(spec, {
        signal: stop.signal,
        onProgress: ({ loaded }) => loaded > 130_000 && stop.abort(),
      })
    );
    test.hub.reset();
  };
  const cases: [Record<string, string>, Record<string, string>][] = [
    [{ etag: '"one"' }, { etag: '"two"' }],
    [{ "last-modified": "Mon, 05 Jan 2026 10:00:00 GMT" }, {
      "last-modified": "Tue, 06 Jan 2026 10:00:00 GMT",
    }],
    [{ "x-linked-etag": `"${hex("sha256", before)}"` }, {
      "x-linked-etag": `"${hex("sha256", after)}"`,
    }],
    [{}, {}], // nothing to tell versions apart by: never resumed at all
    [{ etag: 'W/"weak"' }, { etag: 'W/"weak"' }],
  ];
  for (const [i, [was, is]] of cases.entries()) {
    test.hub.plain.set("/some/m.gguf", { bytes: before, headers: was });
    await half(`${url}?${i}`);
    test.hub.plain.set("/some/m.gguf", { bytes: after, headers: is });
    assertEquals(await Deno.readFile(await test.get(`${url}?${i}`)), after, `case ${i}`);
  }
  // A server that ignores If-Range and answers 206 of the new file.
  test.hub.plain.set("/some/m.gguf", { bytes: before, headers: { etag: '"one"' } });
  await half(`${url}?deaf`);
  test.hub.plain.set("/some/m.gguf", {
    bytes: after.subarray(0, 300_000),
    headers: { etag: '"two"' },
  });
  test.hub.fault = ({ headers }) => void headers.delete("if-range");
  assertEquals(await Deno.readFile(await test.get(`${url}?deaf`)), after.subarray(0, 300_000));
  // A branch that moved: the partial file of the old commit is of no use, and does no harm.
  test.hub.push("org/repo", { "m-Q4_0.gguf": before });
  await half("hf:org/repo");
  test.hub.push("org/repo", { "m-Q4_0.gguf": after });
  assertEquals(await Deno.readFile(await test.get("hf:org/repo")), after);
});

Deno.test("resolveModel() starts over when the file became shorter (416) or changes all the time", async () => {
  await using test = await bench();
  const url = `${test.hub.cdn}/m.gguf`, bytes = content(300_000);
  test.hub.plain.set("/m.gguf", { bytes, headers: { etag: '"one"' } });
  test.hub.fault = inTurn(undefined, { status: 416 });
  assertEquals(await Deno.readFile(await test.get(url)), bytes);
  test.hub.fault = (
    { headers },
  ) => (headers.get("range")?.startsWith("bytes=0-") ? undefined : { status: 416 });
  await assertRejects(() => test.get(`${url}?2`), SourceError, "shorter than announced");
  let version = 0;
  test.hub.fault = ({ headers }) => {
    headers.delete("if-range");
    test.hub.plain.set("/m.gguf", { bytes, headers: { etag: `"${version++}"` } });
    return undefined;
  };
  await assertRejects(() => test.get(`${url}?3`), SourceError, "keeps changing");
  assertEquals((await wholeFiles(test.dir)).length, 1);
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

Deno.test("resolveModel() distrusts a damaged partial file or journal", async () => {
  await using test = await bench();
  const bytes = content(400_000);
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes });
  const damages: ((part: string, journal: string) => void)[] = [
    (part) => Deno.writeFileSync(part, new Uint8Array(400_000)), // a power cut that left zeros
    (part) => Deno.truncateSync(part, 10),
    (_, journal) => Deno.writeTextFileSync(journal, "{"),
    (_, journal) =>
      Deno.writeTextFileSync(
        journal,
        JSON.stringify({ size: 1e15, segmentBytes: 1, done: [], validator: "", sha256: "" }),
      ),
    (part, journal) =>
      Deno.writeTextFileSync(
        journal,
        JSON.stringify({
          size: 400_000,
          segmentBytes: 400_000,
          done: [1e9],
          validator: "",
          sha256: "",
        }),
      ) ?? part,
  ];
  for (const damage of damages) {
    const stop = new AbortController();
    await assertRejects(() =>
      test.get("hf:org/repo", {
        signal: stop.signal,
        onProgress: ({ loaded }) => loaded > 200_000 && stop.abort(),
      })
    );
    const parts = (await filesUnder(test.dir)).filter((path) => path.includes("/partial/")).sort();
    assertEquals(parts.map((path) => path.slice(path.lastIndexOf("."))), [".json", ".part"]);
    damage(parts[1], parts[0]);
    assertEquals(await Deno.readFile(await test.get("hf:org/repo")), bytes);
    await removeCached(test.dir, "hf:org/repo", new URL(test.hub.endpoint));
  }
});

Deno.test("resolveModel() says that the disk is full, leaves nothing broken, and goes on afterwards", async () => {
  await using test = await bench();
  const bytes = content(500_000);
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes });
  let room = 200_000;
  const openPart = async (path: string, offset: number): Promise<PartWriter> => {
    const file = await Deno.open(path, { create: true, write: true });
    await file.seek(offset, Deno.SeekMode.Start);
    return {
      write(chunk) {
        const fits = chunk.subarray(0, room);
        if (fits.length === 0) {
          return Promise.reject(
            Object.assign(new Error("No space left on device (os error 28)"), { code: "ENOSPC" }),
          );
        }
        room -= fits.length;
        return file.write(fits);
      },
      [Symbol.dispose]: () => file.close(),
    };
  };
  await assertRejects(() => test.get("hf:org/repo", { openPart }), SourceError, "the disk is full");
  assertEquals(await wholeFiles(test.dir), []);
  assert(
    (await filesUnder(test.dir)).every((path) => !path.endsWith(".lock") && !path.endsWith(".tmp")),
  );
  test.hub.reset();
  assertEquals(await Deno.readFile(await test.get("hf:org/repo")), bytes);
  assert(test.hub.sentByCdn() < 500_000 - 100_000, "what had arrived was kept");
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
  const hold = async (name: string) => {
    using _lock = await lockFile(`${dir}/x.lock`, undefined, () => order.push(`${name} waits`));
    order.push(`${name} in`);
    await new Promise((resolve) => setTimeout(resolve, 30));
    order.push(`${name} out`);
  };
  const first = hold("a");
  await new Promise((resolve) => setTimeout(resolve, 10));
  await Promise.all([first, hold("b")]);
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
  await Deno.remove(dir, { recursive: true });
});

/** `deno task pull` in a process of its own. */
function pull(test: Bench, ...args: string[]): Deno.ChildProcess {
  return command(test, "pull", ...args).spawn();
}

function command(test: Bench, name: string, ...args: string[]): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--allow-net=127.0.0.1",
      "--allow-env",
      "--allow-read",
      "--allow-write",
      `${ROOT}cli/${name}.ts`,
      ...args,
    ],
    env: {
      SPARROW_CACHE: test.dir,
      HF_ENDPOINT: test.hub.endpoint,
      HF_TOKEN: TOKEN,
      NO_COLOR: "1",
    },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

async function finish(
  child: Deno.ChildProcess,
): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await child.output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert(!out.includes(TOKEN) && !err.includes(TOKEN));
  return { code, out, err };
}

Deno.test("pull: two processes at once download a file once; both have it", async () => {
  await using test = await bench();
  const bytes = content(2_000_000);
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes });
  test.hub.fault = ({ server }) => (server === "cdn" ? { slowMs: 25 } : undefined);
  const results = await Promise.all(
    [pull(test, "hf:org/repo"), pull(test, "hf:org/repo")].map(finish),
  );
  for (const { code, out, err } of results) {
    assertEquals([code, err], [0, ""]);
    assertEquals(await Deno.readFile(out.trim()), bytes);
  }
  assertEquals(results[0].out, results[1].out);
  assertEquals(test.hub.sentByCdn(), bytes.length);
});

Deno.test("pull: killed half way, the next process takes over and goes on", async () => {
  await using test = await bench();
  const bytes = content(4_000_000);
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes });
  test.hub.fault = ({ server }) => (server === "cdn" ? { slowMs: 40 } : undefined);
  const child = pull(test, "hf:org/repo", "--connections", "2");
  while (!(await filesUnder(test.dir)).some((path) => /partial\/[^/]+\.json$/.test(path))) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // A second process waits for the first one's lock, and has it as soon as the first is dead.
  const heir = pull(test, "hf:org/repo", "--json");
  await new Promise((resolve) => setTimeout(resolve, 300));
  assertEquals(await wholeFiles(test.dir), []);
  child.kill("SIGKILL");
  await child.output();
  test.hub.fault = () => undefined;
  const { code, out, err } = await finish(heir);
  assertEquals([code, err], [0, ""]);
  const result = JSON.parse(out);
  assertEquals(await Deno.readFile(result.path), bytes);
  assert(result.downloaded < bytes.length, "it went on instead of beginning anew");
  assertEquals((await filesUnder(test.dir)).filter((path) => path.includes("/partial/")), []);
});

Deno.test("pull: an interrupt ends it with one sentence and keeps what has arrived", async () => {
  await using test = await bench();
  test.hub.push("org/repo", { "m-Q4_0.gguf": content(4_000_000) });
  test.hub.fault = ({ server }) => (server === "cdn" ? { slowMs: 100 } : undefined);
  const child = pull(test, "hf:org/repo");
  while (test.hub.sentByCdn() < 500_000) await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill("SIGINT");
  const { code, out, err } = await finish(child);
  assertEquals([code, out], [1, ""]);
  assertMatch(err, /^pull: Interrupted: [^\n]*\n$/);
  const [entry] = await listCache(test.dir);
  assert(entry.partialBytes > 0 && entry.bytes === 0);
});

Deno.test("pull and models: results on stdout, all else on stderr, exit codes 0, 1 and 2", async () => {
  await using test = await bench();
  test.hub.push("org/repo", { "m-Q4_0.gguf": content(3000), "m-Q8_0.gguf": content(5000) });
  const run = (name: string, ...args: string[]) => finish(command(test, name, ...args).spawn());
  const [first, second, help, usage, spec, absent] = await Promise.all([
    run("pull", "hf:org/repo", "--json"),
    run("pull", "hf:org/repo:Q8_0"),
    run("pull", "--help"),
    run("pull", "--fast", "hf:org/repo"),
    run("pull", "hf:repo"),
    run("pull", "hf:org/none"),
  ]);
  assertEquals([first.code, first.err, second.code, second.err], [0, "", 0, ""]);
  const { path, files, bytes, downloaded } = JSON.parse(first.out);
  assertEquals([files, bytes, downloaded], [[{ path, size: 3000 }], 3000, 3000]);
  assert(second.out.endsWith("/m-Q8_0.gguf\n"));
  assertEquals([help.code, help.out.startsWith("Usage: deno task pull")], [0, true]);
  for (const { code, out, err } of [usage, spec]) {
    assertEquals([code, out, err.startsWith("pull: ")], [2, "", true]);
  }
  assertEquals([absent.code, absent.out], [1, ""]);
  const [list, text, nothing] = await Promise.all([
    run("models", "--json"),
    run("models"),
    run("models", "--remove", "hf:org/other"),
  ]);
  const { models } = JSON.parse(list.out);
  assertEquals(
    models.map(({ name, revisions, bytes }: Record<string, unknown>) => [name, revisions, bytes]),
    [["hf:org/repo", ["main"], 8000]],
  );
  assertMatch(
    text.out,
    /^hf:org\/repo {2}main = [0-9a-f]{12}, 8 kB, \d{4}-\d\d-\d\d\n +3 kB {2}m-Q4_0\.gguf\n +5 kB {2}m-Q8_0\.gguf\n$/,
  );
  assertEquals([nothing.code, nothing.out], [2, ""]);
  const removed = await run("models", "--remove", "hf:org/repo:Q8_0", "--json");
  assertEquals([removed.code, JSON.parse(removed.out)], [0, {
    removed: "hf:org/repo:Q8_0",
    bytes: 5000,
  }]);
});

Deno.test("listCache() and removeCached() see repositories, revisions, URLs and partial files", async () => {
  await using test = await bench();
  const endpoint = new URL(test.hub.endpoint);
  assertEquals(await listCache(test.dir), []);
  const old = test.hub.push("org/repo", { "m-Q4_0.gguf": content(10, 1) });
  await test.get("hf:org/repo");
  const young = test.hub.push("org/repo", {
    "m-Q4_0.gguf": content(20, 2),
    "m-Q8_0.gguf": content(30, 3),
  });
  await test.get("hf:org/repo");
  await test.get("hf:org/repo:Q8_0");
  test.hub.plain.set("/u.gguf", { bytes: content(5), headers: { etag: '"u"' } });
  await test.get(`${test.hub.cdn}/u.gguf?key=1`);
  const seen = async () =>
    (await listCache(test.dir)).map((
      { commit, revisions, bytes, name },
    ) => [name, commit, revisions, bytes]);
  const url = [`${test.hub.cdn}/u.gguf`, "", [], 5];
  assertEquals(
    (await seen()).sort(),
    [["hf:org/repo", old, [], 10], ["hf:org/repo", young, ["main"], 50], url].sort(),
  );
  assertEquals(await removeCached(test.dir, `hf:org/repo@${old}`, endpoint), 10);
  assertEquals(await removeCached(test.dir, "hf:org/repo:Q4_0", endpoint), 20);
  assertEquals((await seen()).sort(), [["hf:org/repo", young, ["main"], 30], url].sort());
  assertEquals(await removeCached(test.dir, `${test.hub.cdn}/u.gguf?key=1`, endpoint), 5);
  assertEquals(await removeCached(test.dir, "hf:org/repo", endpoint), 30);
  assertEquals(await seen(), []);
  await assertRejects(
    () => removeCached(test.dir, "hf:org/repo", endpoint),
    InputError,
    "not in the cache",
  );
  // What is being downloaded is listed as partial, and not removed under the downloader's hands.
  test.hub.push("org/big", { "m-Q4_0.gguf": content(300_000) });
  test.hub.fault = ({ server }) => (server === "cdn" ? { slowMs: 30 } : undefined);
  let checked: Promise<void> | undefined;
  await test.get("hf:org/big", {
    onProgress: ({ loaded }) => {
      if (loaded === 0) return;
      checked ??= (async () => {
        const [entry] = await listCache(test.dir);
        assert(entry.name === "hf:org/big" && entry.partialBytes > 0 && entry.bytes === 0);
        await assertRejects(
          () => removeCached(test.dir, "hf:org/big", endpoint),
          InputError,
          "another process",
        );
      })();
    },
  });
  await checked!;
});

Deno.test("hubOptionsFromEnv() follows HF_*, SPARROW_CACHE and XDG", async () => {
  const dir = await Deno.makeTempDir();
  const from = (env: Record<string, string>) => hubOptionsFromEnv((name) => env[name]);
  assertEquals(from({ HOME: dir }), { cacheDir: `${dir}/.cache/sparrow`, offline: false });
  assertEquals(from({ HOME: dir, XDG_CACHE_HOME: "relative" }).cacheDir, `${dir}/.cache/sparrow`);
  assertEquals(from({ HOME: dir, XDG_CACHE_HOME: "/xdg" }).cacheDir, "/xdg/sparrow");
  assertEquals(from({ HOME: dir, XDG_CACHE_HOME: "/xdg", SPARROW_CACHE: "/s" }).cacheDir, "/s");
  assertEquals(
    from({ HOME: dir, HF_ENDPOINT: "https://mirror.example", HF_HUB_OFFLINE: "1", HF_TOKEN: "" }),
    {
      cacheDir: `${dir}/.cache/sparrow`,
      offline: true,
      endpoint: "https://mirror.example",
    },
  );
  await Deno.mkdir(`${dir}/.cache/huggingface`, { recursive: true });
  await Deno.writeTextFile(`${dir}/.cache/huggingface/token`, "hf_file\n");
  await Deno.writeTextFile(`${dir}/token`, "hf_home\n");
  assertEquals(from({ HOME: dir }).token, "hf_file");
  assertEquals(from({ HOME: dir, HF_HOME: dir }).token, "hf_home");
  assertEquals(from({ HOME: dir, HF_TOKEN_PATH: `${dir}/token` }).token, "hf_home");
  assertEquals(from({ HOME: dir, HF_HOME: dir, HF_TOKEN: "hf_env" }).token, "hf_env");
  assertThrows(() => from({}), InputError, "SPARROW_CACHE");
  await Deno.remove(dir, { recursive: true });
});

Deno.test("progressLine() shows rate and time left in one line, and nothing where there is no terminal", () => {
  let text = "", now = 0, columns = 100;
  const terminal = {
    columns: () => columns,
    write: (more: string) => void (text += more),
    now: () => now,
  };
  const line = progressLine(terminal);
  const at = (ms: number, loaded: number) => {
    now = ms;
    line.update({ phase: "download", file: "sub/m.gguf", loaded, total: 640e6 });
  };
  at(0, 64e6);
  at(50, 65e6); // too soon to draw
  at(1000, 76e6);
  assertEquals(text.split("\r\x1b[2K").slice(1), [
    "m.gguf 10% [##------------------] 64 MB of 640 MB",
    "m.gguf 11% [##------------------] 76 MB of 640 MB, 12 MB/s, 0:47 left",
  ]);
  line.note("hello");
  assert(text.endsWith("\r\x1b[2Khello\n"));
  [text, columns] = ["", 0];
  at(2000, 100e6);
  line[Symbol.dispose]();
  assertEquals(text, "");
  for (let width = 0; width < 80; width++) {
    for (const phase of ["download", "verify", "wait"] as const) {
      assert(
        describeProgress({ phase, file: "m.gguf", loaded: 1e9, total: 4e9 }, 1e6, width).length <=
          width,
      );
    }
  }
  assertEquals([0, 999, 1000, 999_999, 1.234e9].map(formatBytes), [
    "0 B",
    "999 B",
    "1 kB",
    "1 MB",
    "1.23 GB",
  ]);
  assertEquals([9, 750, 3723].map(formatTime), ["0:09", "12:30", "1:02:03"]);
});
