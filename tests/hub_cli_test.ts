/** The pull and models commands in processes of their own, the cache's inventory, and their parts. */
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { hubOptionsFromEnv } from "../cli/hub_env.ts";
import { describeProgress, formatBytes, formatTime, progressLine } from "../cli/progress.ts";
import { InputError } from "../errors.ts";
import { listCache, removeCached } from "../runtime/hub/inventory.ts";
import { taskArgs } from "./task_args.ts";
import { tinyGguf } from "./tiny_model.ts";
import { type Bench, bench, content, filesUnder, TOKEN, wholeFiles } from "./hub_bench.ts";

const ROOT = new URL("../", import.meta.url).pathname;

/** `deno task pull` in a process of its own. */
function pull(test: Bench, ...args: string[]): Deno.ChildProcess {
  return command(test, "pull", ...args).spawn();
}

function command(test: Bench, name: string, ...args: string[]): Deno.Command {
  const variables = { SPARROW_CACHE: test.dir, HF_ENDPOINT: test.hub.endpoint, HF_TOKEN: TOKEN };
  return new Deno.Command(Deno.execPath(), {
    args: [...taskArgs(name, variables), ...args],
    cwd: ROOT,
    env: { ...variables, NO_COLOR: "1" },
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

Deno.test("generate: a model behind a URL is downloaded once, then used from the cache", async () => {
  await using test = await bench();
  const model = await tinyGguf();
  test.hub.push("org/repo", { "m.gguf": model });
  const url = `${test.hub.endpoint}/org/repo/resolve/main/m.gguf`;
  const ask = (...more: string[]): Promise<{ code: number; out: string; err: string }> => {
    const args = [
      "--temperature",
      "0",
      "--max-tokens",
      "5",
      "--model",
      url,
      ...more,
      "the",
    ];
    return finish(command(test, "generate", ...args).spawn());
  };
  const first = await ask();
  assertEquals(first.code, 0, first.err);
  assertMatch(first.out, /\S/);
  const requests = test.hub.seen.length;
  assert(requests > 0);
  assertEquals((await ask()).out, first.out);
  assertEquals((await ask("--offline")).out, first.out);
  assertEquals(test.hub.seen.length, requests);
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
  assertEquals([code, out], [130, ""]);
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
  // A URL with a signature, and a name with codes: of both what may be shown.
  for (const phase of ["download", "verify", "wait"] as const) {
    const file = "https://me:pw@h/a/m\x1b[31m.gguf?X-Amz-Signature=a/b#c";
    const shown = describeProgress({ phase, file, loaded: 1e9, total: 4e9 }, 1e6, 200);
    assertMatch(shown, /^(https:\/\/h\/a\/)?m\\u001b\[31m\.gguf[ :]/);
    assert(!/me:pw|Amz|a\/b|#c/.test(shown), shown);
  }
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
