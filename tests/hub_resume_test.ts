/**
 * Downloads from a loopback hub that misbehaves like networks do: cuts, stalls, files that change, a full
 * disk. Nothing is lost, and nothing wrong is served.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SourceError } from "../errors.ts";
import { removeCached } from "../runtime/hub/inventory.ts";
import type { PartWriter } from "../runtime/hub/part_file.ts";
import { fetchModel, type ResolveOptions } from "../runtime/hub/resolve.ts";
import { bench, content, filesUnder, inTurn, random, TUNING, wholeFiles } from "./hub_bench.ts";
import { hex } from "./hub_server.ts";

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
  const before = content(300_000, 1), after = content(300_000, 2);
  const url = `${test.hub.cdn}/some/m.gguf`;
  const single = { connections: 1 };
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
    // What the aborted call still had under way does not count as requests of the next.
    await test.hub.settle();
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
    assertEquals(await Deno.readFile(await test.get(`${url}?${i}`, single)), after, `case ${i}`);
    if (was.etag === '"one"') assertEquals(test.hub.seen[0].headers.get("if-range"), '"one"');
    // Noticed by the first answer, not by the hash of a file that is half old and half new.
    const requests = test.hub.seen.filter(({ server }) => server === "cdn").length;
    assert(requests <= 1 + 5, `case ${i}: ${requests} requests`);
  }
  // A server that ignores If-Range and answers 206 of the new file.
  test.hub.plain.set("/some/m.gguf", { bytes: before, headers: { etag: '"one"' } });
  await half(`${url}?deaf`);
  test.hub.plain.set("/some/m.gguf", {
    bytes: after,
    headers: { etag: '"two"' },
  });
  test.hub.fault = ({ headers }) => void headers.delete("if-range");
  assertEquals(await Deno.readFile(await test.get(`${url}?deaf`)), after);
  // A branch that moved: the partial file of the old commit is of no use, and does no harm.
  test.hub.push("org/repo", { "m-Q4_0.gguf": before });
  await half("hf:org/repo");
  test.hub.push("org/repo", { "m-Q4_0.gguf": after });
  assertEquals(await Deno.readFile(await test.get("hf:org/repo")), after);
});

Deno.test("resolveModel() trusts the hash over ETags that differ between a mirror's machines", async () => {
  await using test = await bench();
  const bytes = content(300_000);
  test.hub.push("org/repo", { "m-Q4_0.gguf": bytes });
  let n = 0;
  test.hub.fault = ({ server }) =>
    server === "cdn" ? { headers: { etag: `"machine ${n++}"` } } : undefined;
  assertEquals(await Deno.readFile(await test.get("hf:org/repo")), bytes);
  assertEquals(test.hub.sentByCdn(), bytes.length);
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
