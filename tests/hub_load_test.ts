/**
 * `loadModel("hf:…")` on a hub of its own: with a cache, without permission for one, with nothing but the
 * network, offline; and what is downloaded, told and refused on the way.
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import {
  type HubOptions,
  InputError,
  loadModel,
  type LoadProgress,
  loadTokenizer,
  SourceError,
} from "../mod.ts";
import { type Bench, bench, content, filesUnder, TOKEN, wholeFiles } from "./hub_bench.ts";
import { taskArgs } from "./task_args.ts";
import { tinyGguf, tinySafetensors } from "./tiny_model.ts";

const ROOT = new URL("../", import.meta.url);
const SETTINGS = { temperature: 0, maxTokens: 8, stopIds: [] };

/** A model on the bench's hub as a page would name it, and what it writes. */
async function write(source: string, hub: HubOptions): Promise<number[]> {
  await using model = await loadModel(source, { hub, backend: "wasm", threads: 1 });
  return [...(await model.complete([1, 5, 9], SETTINGS)).ids];
}

async function expected(bytes: Uint8Array<ArrayBuffer>): Promise<number[]> {
  await using model = await loadModel(new Blob([bytes]), { backend: "wasm", threads: 1 });
  return [...(await model.complete([1, 5, 9], SETTINGS)).ids];
}

Deno.test("loadModel(hf:) keeps what it downloads, and tells how far it is", async () => {
  await using test = await bench();
  const bytes = await tinyGguf();
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes, "m-Q8_0.gguf": content(99) });
  test.hub.token = TOKEN;
  const hub = { endpoint: test.hub.endpoint, cacheDir: test.dir, token: TOKEN };
  const told: LoadProgress[] = [];
  await using model = await loadModel("hf:org/repo:Q4_0", {
    hub,
    backend: "wasm",
    threads: 1,
    onProgress: (progress) => void told.push(progress),
  });
  assertEquals([...(await model.complete([1, 5, 9], SETTINGS)).ids], await expected(bytes));
  const phases = told.map(({ phase }) => phase);
  assertEquals(phases, phases.toSorted()); // download, verify, weights
  assertEquals(new Set(phases), new Set(["download", "verify", "weights"]));
  const downloads = told.filter(({ phase }) => phase === "download");
  assertEquals(downloads.at(-1)!.loaded, bytes.length);
  for (const { total, file } of downloads) {
    assertEquals([total, file], [bytes.length, "m-Q4_0.gguf"]);
  }
  assertEquals(told.at(-1)!.loaded, told.at(-1)!.total);
  assertEquals((await wholeFiles(test.dir)).length, 1);
  test.hub.reset();
  assertEquals(await write("hf:org/repo:Q4_0", { ...hub, offline: true }), await expected(bytes));
  assertEquals(test.hub.seen.length, 0);
});

Deno.test("loadModel(hf:) reads by ranges and keeps nothing where it may not or shall not", async () => {
  await using test = await bench();
  const bytes = await tinyGguf();
  test.hub.push("org/repo", { "sub/m-Q4_0.gguf": bytes }, "v1");
  test.hub.token = TOKEN;
  const hub = { endpoint: test.hub.endpoint, cacheDir: test.dir, token: TOKEN, cache: false };
  assertEquals(await write("hf:org/repo@v1:Q4_0", hub), await expected(bytes));
  assertEquals(await filesUnder(test.dir), []);
  // The token went to the hub with every request, and to the storage host with none.
  assert(test.hub.seen.some(({ server }) => server === "cdn"));
  for (const { server, headers } of test.hub.seen) {
    assertEquals(headers.get("authorization"), server === "hub" ? `Bearer ${TOKEN}` : null);
  }
  assert(test.hub.seen.some(({ headers }) => /^bytes=/.test(headers.get("range") ?? "")));
});

Deno.test("loadModel(hf:) reads a safetensors repository with or without a cache", async () => {
  await using test = await bench();
  test.hub.push("org/repo", { ...tinySafetensors(), "README.md": "no" });
  const hub = { endpoint: test.hub.endpoint, cacheDir: test.dir };
  const ids = await write("hf:org/repo", { ...hub, cache: false });
  assertEquals(await filesUnder(test.dir), []);
  assertEquals(await write("hf:org/repo", hub), ids);
  assert((await wholeFiles(test.dir)).length > 1);
});

Deno.test("an encoder's modules come from a hub, with or without a cache, and from a plain server", async () => {
  await using test = await bench();
  const folder = new URL("golden/tasks/bert-sentence/", import.meta.url);
  const paths = [
    ...["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"],
    ...["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"],
    ...["1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"],
  ];
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const path of paths) files.set(path, await Deno.readFile(new URL(path, folder)));
  const vectors = async (source: string | URL, hub?: HubOptions): Promise<Float32Array[]> => {
    await using model = await loadModel(source, { ...(hub && { hub }), backend: "reference" });
    return await model.embed(["the cat"], { promptName: "query" });
  };
  const known = await vectors(folder);
  assertEquals(known[0]!.length, 24);
  test.hub.push("org/repo", Object.fromEntries(files));
  const hub = { endpoint: test.hub.endpoint, cacheDir: test.dir };
  assertEquals(await vectors("hf:org/repo", { ...hub, cache: false }), known);
  assertEquals(await vectors("hf:org/repo", hub), known);
  assertEquals(await vectors("hf:org/repo", { ...hub, offline: true }), known);
  await using server = Deno.serve({ port: 0, onListen: () => {} }, ({ url, headers }) => {
    const bytes = files.get(new URL(url).pathname.slice(1));
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(headers.get("range") ?? "") ?? [];
    if (!bytes) return new Response("none", { status: 404 });
    if (first === undefined) return new Response(bytes);
    const end = Math.min(last ? Number(last) + 1 : bytes.length, bytes.length);
    return new Response(bytes.slice(Number(first), end), {
      status: 206,
      headers: { "content-range": `bytes ${first}-${end - 1}/${bytes.length}` },
    });
  });
  assertEquals(await vectors(new URL(`http://127.0.0.1:${server.addr.port}/`)), known);
});

/** Runs a program with these permissions and no others; it must end well and say nothing else. */
async function program(
  test: Bench,
  body: string,
  allow: readonly string[],
  env: Record<string, string> = {},
): Promise<unknown> {
  const folder = await Deno.makeTempDir({ prefix: "sparrow_" });
  try {
    await Deno.writeTextFile(
      `${folder}/main.ts`,
      `import { loadModel, loadTokenizer } from ${JSON.stringify(new URL("mod.ts", ROOT).href)};
      const endpoint = ${JSON.stringify(test.hub.endpoint)};
      const options = { backend: "reference", hub: { endpoint } } as const;
      const write = async (options: Parameters<typeof loadModel>[1]) => {
        await using model = await loadModel("hf:org/repo", options);
        return (await model.complete([1, 5, 9], ${JSON.stringify(SETTINGS)})).ids;
      };
      ${body}`,
    );
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-prompt", "--no-check", ...allow, `${folder}/main.ts`],
      cwd: folder,
      env: { NO_COLOR: "1", SPARROW_CACHE: test.dir, ...env },
      stdin: "null",
    }).output();
    assertEquals(new TextDecoder().decode(stderr), "");
    return JSON.parse(new TextDecoder().decode(stdout));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("loadModel(hf:) needs the network and nothing else, and uses what more it has", async () => {
  await using test = await bench();
  const bytes = await tinyGguf();
  test.hub.push("org/repo", { "m.gguf": bytes });
  const net = [test.hub.endpoint, test.hub.cdn].map((it) => new URL(it).host).join();
  const print = "console.log(JSON.stringify(await write(options)));";
  const ids = await expected(bytes);
  const alone = [`--allow-net=${net}`], env = "--allow-env=SPARROW_CACHE";
  assertEquals(await program(test, print, alone), ids);
  // Reading alone is no cache, and neither is a folder that nobody knows of.
  assertEquals(await program(test, print, [...alone, env, `--allow-read=${test.dir}`]), ids);
  const disk = [`--allow-read=${test.dir}`, `--allow-write=${test.dir}`];
  assertEquals(await program(test, print, [...alone, ...disk]), ids);
  assertEquals(await filesUnder(test.dir), []);
  assertEquals(await program(test, print, [...alone, ...disk, env]), ids);
  assertEquals((await wholeFiles(test.dir)).length, 1);
  test.hub.reset();
  const offline = "--allow-env=SPARROW_CACHE,HF_HUB_OFFLINE";
  const found = await program(test, print, [offline, disk[0]!], { HF_HUB_OFFLINE: "1" });
  assertEquals(found, ids);
  assertEquals(test.hub.seen.length, 0);
});

Deno.test("loadModel(hf:) takes token and hub from the environment, each for the other", async () => {
  await using test = await bench();
  test.hub.push("org/repo", { "m.gguf": await tinyGguf() });
  test.hub.token = TOKEN;
  const net = [test.hub.endpoint, test.hub.cdn].map((it) => new URL(it).host).join();
  const allow = [`--allow-net=${net}`, "--allow-env=HF_TOKEN,HF_ENDPOINT"];
  const env = { HF_TOKEN: TOKEN, HF_ENDPOINT: test.hub.endpoint };
  const print = `
    const ids = await write({ backend: "reference" });
    const refused = await write(options).catch((error) => error.message);
    console.log(JSON.stringify([ids.length, refused]));`;
  const [count, refused] = await program(test, print, allow, env) as [number, string];
  assertEquals(count, 8);
  // A hub that the program names gets no token that was meant for another one.
  assertMatch(refused, /401.*no token was given/);
});

Deno.test("loadTokenizer(hf:) downloads no weights", async () => {
  await using test = await bench();
  test.hub.push("org/repo", { "m.gguf": await tinyGguf() });
  const hub = { endpoint: test.hub.endpoint, cacheDir: test.dir };
  const tokenizer = await loadTokenizer("hf:org/repo", { hub });
  assertEquals(tokenizer.decode(tokenizer.encode("the man")), "the man");
  assertEquals(await filesUnder(test.dir), []);
});

Deno.test("loadModel(hf:) says what is wrong, in one typed sentence", async () => {
  await using test = await bench();
  const bytes = await tinyGguf();
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes });
  const hub = { endpoint: test.hub.endpoint, cacheDir: test.dir };
  const load = (source: string | URL, options: Parameters<typeof loadModel>[1] = {}) =>
    loadModel(source, { hub, backend: "reference", ...options });
  await assertRejects(() => load("hf:repo"), InputError, "where ORG/REPO belongs");
  await assertRejects(() => load("hf:org/repo:Q8_0"), InputError, "there is Q4_0");
  await assertRejects(() => load("hf:org/none"), SourceError, "404");
  await assertRejects(() => load("hf:org/repo@v9"), SourceError, "no such revision");
  for (const cache of [true, false]) {
    await assertRejects(
      () => load("hf:org/repo", { hub: { ...hub, cache, offline: true } }),
      SourceError,
      "the network is not to be used",
    );
    await assertRejects(
      () => load("hf:org/repo", { hub: { ...hub, cache, endpoint: "ftp://hub" } }),
      InputError,
      "Cannot use the hub endpoint",
    );
    const reason = new Error("changed my mind");
    for (const signal of [AbortSignal.abort(reason), abortLater(test, reason)]) {
      const error = await assertRejects(() =>
        load("hf:org/repo", { hub: { ...hub, cache }, signal })
      );
      assertEquals(error, reason);
    }
    test.hub.reset();
  }
  const wrong: [object, string][] = [
    [{ tokn: "x" }, '"tokn": there is no such option; did you mean "token"?'],
    [{ offline: "yes" }, "offline"],
    [{ endpoint: 7 }, "endpoint 7: expected a URL"],
  ];
  for (const [hub, message] of wrong) {
    await assertRejects(() => load("hf:org/repo", { hub }), InputError, message);
  }
  await using model = await load(new URL("hf:org/repo"));
  assertEquals((await model.complete([1, 5, 9], SETTINGS)).ids.length, 8);
});

/** A signal that is aborted by the first byte that the storage host is asked for. */
function abortLater(test: Bench, reason: Error): AbortSignal {
  const controller = new AbortController();
  test.hub.fault = ({ server }) => {
    if (server !== "cdn") return undefined;
    controller.abort(reason);
    return { stallAfter: 10 };
  };
  return controller.signal;
}

Deno.test("a file that is not as long as the hub lists is refused without a cache too", async () => {
  await using test = await bench();
  test.hub.push("org/repo", { "m.gguf": await tinyGguf() });
  test.hub.fault = ({ server }) => (server === "cdn" ? { longerBy: 100 } : undefined);
  const hub = { endpoint: test.hub.endpoint, cache: false };
  const error = await assertRejects(
    () => loadModel("hf:org/repo", { hub, backend: "reference" }),
    SourceError,
  );
  assertStringIncludes(error.message, "but the hub lists");
});

Deno.test("generate --model hf:… is the same in a command", async () => {
  await using test = await bench();
  const bytes = await tinyGguf();
  test.hub.push("org/repo", { "m.gguf": bytes });
  const variables = { SPARROW_CACHE: test.dir, HF_ENDPOINT: test.hub.endpoint };
  const run = async (name: string, ...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...taskArgs(name, variables), ...args],
      cwd: ROOT,
      env: { ...variables, NO_COLOR: "1" },
      stdin: "null",
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout);
  };
  const args = ["--model", "hf:org/repo", "--temperature", "0", "-n", "5", "the"];
  const text = await run("generate", ...args);
  assertEquals((await wholeFiles(test.dir)).length, 1);
  const requests = test.hub.seen.length;
  assertEquals(await run("generate", "--offline", ...args), text);
  assertStringIncludes(await run("inspect", "--offline", "hf:org/repo"), "llama");
  assertEquals(test.hub.seen.length, requests);
});
