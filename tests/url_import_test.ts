/**
 * Import by URL: from an empty folder, with permission for nothing but the import and the server
 * that has the weights, a program loads a model by URL and generates on several threads.
 */

import { assert, assertEquals } from "@std/assert";
import { loadModel } from "../mod.ts";
import { CHAT_TEMPLATE, tinyGguf } from "./tiny_model.ts";

const ROOT = new URL("../", import.meta.url);
const TYPES: Readonly<Record<string, string>> = {
  ts: "application/typescript",
  js: "text/javascript",
  wasm: "application/wasm",
  wgsl: "text/plain",
};

/** Serves the repository, and `/model.gguf`; what was asked for is put into `paths`. */
function serve(model: Uint8Array<ArrayBuffer>, paths: Set<string>): Deno.HttpServer<Deno.NetAddr> {
  return Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      paths.add(pathname);
      if (pathname === "/model.gguf") return new Response(model);
      const type = TYPES[pathname.split(".").at(-1)!];
      try {
        if (type === undefined || pathname.includes("..")) throw new Error("not served");
        const bytes = await Deno.readFile(new URL(`.${pathname}`, ROOT));
        return new Response(bytes, { headers: { "Content-Type": type } });
      } catch {
        return new Response("there is none", { status: 404 });
      }
    },
  );
}

/** Runs `source` as a program in an empty folder with no permissions but `allow`. */
async function program(source: string, origin: string, allow: string[]): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "sparrow_" });
  try {
    await Deno.writeTextFile(`${folder}/main.ts`, source);
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      // The module cache may have this port's modules of another run.
      args: ["run", "--quiet", "--no-prompt", `--reload=${origin}`, ...allow, "main.ts"],
      cwd: folder,
      signal: AbortSignal.timeout(120_000),
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    assertEquals(new TextDecoder().decode(stderr), "");
    return new TextDecoder().decode(stdout);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a program imports Sparrow by URL, loads a model by URL and generates", async () => {
  // Byte-level pairs and a chat template, which need the npm packages.
  const model = await tinyGguf({ tokenizer: "bpe", chatTemplate: CHAT_TEMPLATE, context: 128 });
  const options = { temperature: 0, maxTokens: 30 };
  const messages = [{ role: "user", content: "the man" }];
  const expected: string[] = [];
  {
    await using local = await loadModel(new Blob([model]), { threads: 2 });
    const prompt = await local.chatPrompt(messages);
    let text = "";
    for await (const token of local.session().generate(prompt, options)) text += token.text;
    expected.push(text, local.backend);
  }
  assert(expected[0]!.length > 5);
  const paths = new Set<string>();
  const server = serve(model, paths);
  const host = `127.0.0.1:${server.addr.port}`, origin = `http://${host}`;
  try {
    const stdout = await program(
      `import { loadModel } from "${origin}/mod.ts";
      for (const threads of [2, 3]) {
        await using model = await loadModel("${origin}/model.gguf", { backend: "wasm", threads });
        const prompt = await model.chatPrompt(${JSON.stringify(messages)});
        let text = "";
        const options = ${JSON.stringify(options)};
        for await (const token of model.session().generate(prompt, options)) text += token.text;
        console.log(JSON.stringify([text, model.backend, model.threads]));
      }`,
      origin,
      [`--allow-import=${host}`, `--allow-net=${host}`],
    );
    assertEquals(
      stdout.trim().split("\n").map((line) => JSON.parse(line)),
      [[...expected, 2], [...expected, 3]],
    );
    assert(paths.has("/mod.ts") && paths.has("/model.gguf"));
  } finally {
    await server.shutdown();
  }
});

Deno.test("importing and using Sparrow without a model needs only the import", async () => {
  const paths = new Set<string>();
  const server = serve(new Uint8Array(), paths);
  const host = `127.0.0.1:${server.addr.port}`, origin = `http://${host}`;
  try {
    const stdout = await program(
      `import { sampler } from "${origin}/mod.ts";
      import { compile, Graph } from "${origin}/graph.ts";
      const g = new Graph();
      g.output("y", g.op("matmul", [g.input("x", [1, 2]), g.matrix("w", [1, 2])]));
      const weights = { w: Float32Array.of(3, 4) };
      await using program = await compile(g, { backend: "wasm", threads: 2, weights });
      const { y } = await program.run({ x: Float32Array.of(1, 10) });
      console.log(y[0], sampler({ temperature: 0 })(y));`,
      origin,
      [`--allow-import=${host}`],
    );
    assertEquals(stdout, "43 0\n");
    // Tests, the command line and the hub are no part of the library.
    const foreign = Array.from(paths).filter((path) =>
      !/^\/(mod|graph|errors|escape|options|quant|kernels|runtime)\b/.test(path)
    );
    assertEquals(foreign, []);
  } finally {
    await server.shutdown();
  }
});
