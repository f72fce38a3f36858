/**
 * The bundle in a browser: Chromium, driven by Playwright, runs models on WebAssembly threads and on
 * WebGPU, and says what Deno says. Rows are skipped where there is no Chromium; in CI they fail.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { type Browser, chromium, type Page } from "playwright-core";
import { ISOLATION_HEADERS, servePage } from "../browser/serve.ts";
import { loadModel } from "../mod.ts";
import { type Fault, TestHub } from "./hub_server.ts";
import { skipUnless } from "./skips.ts";
import { tinyGguf } from "./tiny_model.ts";

const ROOT = new URL("../", import.meta.url);
const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = CHROMIUM.find((path) => exists(path));
const ignore = skipUnless(
  executablePath !== undefined || Deno.env.get("CI") === "true",
  "there is no Chromium in /usr/bin",
);

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** A page of a Chromium whose WebGPU runs on its own software adapter, on the served repository. */
async function onPage(run: (page: Page, origin: string) => Promise<void>): Promise<void> {
  const server = servePage(0);
  let browser: Browser | undefined;
  try {
    browser = await chromium.launch({
      executablePath: executablePath!,
      args: ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
    });
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    const origin = `http://127.0.0.1:${server.addr.port}`;
    await page.goto(`${origin}/`);
    await run(page, origin);
    assertEquals(errors, []);
  } finally {
    await browser?.close();
    await server.shutdown();
  }
}

/** What `program`, an ES module's text that can import the bundle, posts to `report`. */
async function inPage(page: Page, program: string): Promise<string> {
  return await page.evaluate((text) => {
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    return import(url).then((module) => module.default);
  }, program);
}

const options = { ignore, sanitizeResources: false, sanitizeOps: false };

Deno.test("the bundle is one module, made by its task", { ignore }, async () => {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "-q", "bundle"],
    cwd: ROOT,
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  const text = await Deno.readTextFile(new URL("dist/sparrow.js", ROOT));
  // Words in quotes are no imports: a template has a keyword "import".
  const imports = text.match(/(?<!["'])\b(?:import\s*\(?|from)\s*["'][^"']*["']/g) ?? [];
  assertEquals(imports, []);
  const { size } = await Deno.stat(new URL("dist/sparrow.js", ROOT));
  const readme = await Deno.readTextFile(new URL("README.md", ROOT));
  const said = Number(/the kernels in it \(([\d.]+) MB\)/.exec(readme)?.[1]);
  assert(
    Math.abs(size / 1e6 - said) < 0.2,
    `the README says ${said} MB, the bundle has ${size} bytes`,
  );
});

Deno.test("a page writes on WebAssembly threads what Deno writes", options, async () => {
  await onPage(async (page, origin) => {
    const settings = { temperature: 0, maxTokens: 24 };
    const found = await inPage(
      page,
      `import { loadModel } from "${origin}/dist/sparrow.js";
      const model = await loadModel(undefined, { backend: "wasm", threads: 2 });
      let text = model.threads + ":";
      for await (const token of model.session().generate("春眠不觉晓，", ${
        JSON.stringify(settings)
      })) {
        text += token.text;
      }
      await model.dispose();
      export default text;`,
    );
    await using model = await loadModel(undefined, { backend: "wasm", threads: 2 });
    let expected = "2:";
    for await (const { text } of model.session().generate("春眠不觉晓，", settings)) {
      expected += text;
    }
    assertEquals(found, expected);
  });
});

Deno.test("a page writes on WebGPU what Deno writes on WebAssembly", options, async () => {
  const bytes = await tinyGguf({ type: "Q4_0", hidden: 64 });
  await Deno.mkdir(new URL("dist", ROOT), { recursive: true });
  const path = await Deno.makeTempFile({ dir: new URL("dist", ROOT).pathname, suffix: ".gguf" });
  try {
    await Deno.writeFile(path, bytes);
    await onPage(async (page) => {
      const settings = { temperature: 0, maxTokens: 20, stopIds: [] };
      const found = await inPage(
        page,
        `import { loadModel } from "${new URL("/dist/sparrow.js", page.url())}";
        const source = "dist/${path.split("/").at(-1)}"; // relative to the page
        const model = await loadModel(source, { backend: "webgpu", contextLength: 64 });
        const ids = [];
        for await (const token of model.session().generate([1, 5, 9], ${
          JSON.stringify(settings)
        })) {
          ids.push(token.id);
        }
        await model.dispose();
        export default model.backend + ": " + ids;`,
      );
      await using model = await loadModel(new Blob([bytes]), { backend: "wasm" });
      const ids: number[] = [];
      for await (const { id } of model.session().generate([1, 5, 9], settings)) ids.push(id);
      assertEquals(ids.length, 20);
      assertEquals(found, `webgpu: ${ids}`);
    });
  } finally {
    await Deno.remove(path);
  }
});

Deno.test(
  "a page keeps a model of a hub, and loads it again without the network",
  options,
  async () => {
    await using hub = new TestHub();
    const bytes = await tinyGguf({ context: 64 });
    hub.push("org/repo", { "sub/m-Q4_0.gguf": bytes, "a.json": "{}", "b.json": "{}" });
    const commit = hub.repos.get("org/repo")!.get("main")!.sha;
    // What hubs send to pages of other origins.
    const headers = {
      "access-control-allow-origin": "*",
      "access-control-expose-headers": "link, etag, content-range, accept-ranges, x-error-code",
    };
    let faults: Fault[] = [];
    hub.fault = ({ server }) => ({ headers, ...(server === "cdn" ? faults.shift() : undefined) });
    const settings = { temperature: 0, maxTokens: 8, stopIds: [] };
    await using local = await loadModel(new Blob([bytes]), { backend: "wasm", threads: 1 });
    const expected = [...(await local.complete([1, 5, 9], settings)).ids];
    await onPage(async (page, origin) => {
      const write = (hubOptions: object): Promise<string> =>
        inPage(
          page,
          `import { loadModel } from "${origin}/dist/sparrow.js";
        const told = [], warnings = [];
        let ids, failure;
        try {
          const model = await loadModel("hf:org/repo", {
            backend: "wasm",
            threads: 1,
            hub: ${JSON.stringify({ endpoint: hub.endpoint, ...hubOptions })},
            onProgress: ({ phase, loaded, total }) => told.push([phase, loaded, total]),
            onWarning: (message) => warnings.push(message),
          });
          ({ ids } = await model.complete([1, 5, 9], ${JSON.stringify(settings)}));
          await model.dispose();
        } catch (error) {
          failure = error.name + ": " + error.message;
        }
        const keys = (await (await caches.open("sparrow")).keys()).map(({ url }) => url);
        export default JSON.stringify({ ids, failure, told, warnings, keys });`,
        );
      // Nothing is kept, so nothing can be had.
      const none = JSON.parse(await write({ offline: true }));
      assertMatch(none.failure, /^SourceError: .*the page has not kept it/);
      // Ranges without a cache.
      const ranged = JSON.parse(await write({ cache: false }));
      assertEquals([ranged.ids, ranged.keys], [expected, []], ranged.failure);
      // The first time it is downloaded, on from where a connection was cut.
      faults = [{ cutAfter: 5000 }];
      const first = JSON.parse(await write({}));
      assertEquals([first.ids, first.warnings], [expected, []], first.failure);
      const downloads = first.told.filter(([phase]: string[]) => phase === "download");
      assertEquals(downloads.at(-1), ["download", bytes.length, bytes.length]);
      const kept = `${hub.endpoint}/org/repo/resolve/${commit}/sub/m-Q4_0.gguf`;
      assert(first.keys.includes(kept), first.keys.join());
      const asked = hub.seen.filter(({ server }) => server === "cdn").length;
      // Then the hub is only asked which commit is the newest, and offline not even that.
      const second = JSON.parse(await write({}));
      assertEquals([second.ids, second.told.at(0)[0]], [expected, "weights"], second.failure);
      assertEquals(hub.seen.filter(({ server }) => server === "cdn").length, asked);
      const requests = hub.seen.length;
      const offline = JSON.parse(await write({ offline: true }));
      assertEquals(offline.ids, expected, offline.failure);
      assertEquals(hub.seen.length, requests);
      // A hub that is out of reach is a warning; one with a newer commit takes the place of the old one.
      hub.fault = () => ({ cutAfter: -1 });
      const alone = JSON.parse(await write({}));
      assertEquals([alone.ids, alone.warnings.length], [expected, 1], alone.failure);
      assertStringIncludes(alone.warnings[0], "which may be older");
      hub.fault = () => ({ headers });
      hub.push("org/repo", { "n-Q4_0.gguf": bytes });
      const newer = JSON.parse(await write({}));
      assertEquals(newer.ids, expected, newer.failure);
      assertEquals([newer.keys.length, newer.keys.includes(kept)], [2, false]);
    });
  },
);

Deno.test("the page continues a prompt", options, async () => {
  await onPage(async (page) => {
    await page.selectOption("select", "wasm");
    await page.fill("[name=prompt]", "It was a dark night");
    await page.click("button");
    await page.locator("[role=status]", { hasText: "tokens/s" }).waitFor();
    await page.locator("button:enabled").waitFor();
    assertMatch(await page.textContent("output") ?? "", /^It was a dark night.+/s);
  });
});

Deno.test(
  "a page that may not share memory is told what its server has to send",
  options,
  async () => {
    const headers = { "Content-Type": "text/javascript" };
    const bundle = await Deno.readFile(new URL("dist/sparrow.js", ROOT));
    const model = await tinyGguf();
    const bare = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/sparrow.js") return new Response(bundle, { headers });
      if (pathname === "/model.gguf") return new Response(model);
      return new Response("<title>bare</title>", { headers: { "Content-Type": "text/html" } });
    });
    try {
      await onPage(async (page) => {
        const origin = `http://127.0.0.1:${bare.addr.port}`;
        await page.goto(`${origin}/`);
        const found = await inPage(
          page,
          `import { loadModel } from "${origin}/sparrow.js";
        let said = "nothing";
        try {
          await loadModel("model.gguf", { backend: "wasm" });
        } catch (error) {
          said = error.name + ": " + error.message;
        }
        export default said;`,
        );
        assertStringIncludes(found, "BackendError: ");
        for (const header of Object.keys(ISOLATION_HEADERS)) assertStringIncludes(found, header);
      });
    } finally {
      await bare.shutdown();
    }
  },
);
