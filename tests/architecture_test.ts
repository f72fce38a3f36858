/** The shape of the repository: who may import whom, what an op consists of, how long files are. */

import { assert, assertEquals } from "@std/assert";
import { CONSTANTS } from "../kernels/build_constants.ts";
import { OPS } from "../kernels/ops.ts";
import { DEV_TASKS } from "../tools/dev.ts";

const ROOT = new URL("../", import.meta.url);
const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));

/** Entry points of the library, as deno.json exports them. */
const LIBRARY = Object.values<string>(config.exports);

/** Files that may name packages, which are loaded when they are needed. */
const DEPENDENCY_FILES = ["runtime/hub/deps.ts", "serve/deps.ts"];

/** What each part may import, beside itself. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  "escape.ts": [],
  "errors.ts": ["escape.ts"],
  "options.ts": ["errors.ts", "escape.ts"],
  quant: ["errors.ts", "escape.ts", "options.ts"],
  kernels: ["errors.ts", "escape.ts", "options.ts", "quant"],
  runtime: ["errors.ts", "escape.ts", "options.ts", "quant", "kernels"],
  "mod.ts": ["errors.ts", "quant", "kernels", "runtime"],
  "graph.ts": ["errors.ts", "quant", "kernels", "runtime"],
  quantize: ["errors.ts", "escape.ts", "options.ts", "quant", "kernels", "runtime"],
  serve: ["errors.ts", "escape.ts", "options.ts", "mod.ts", "runtime"],
  cli: [
    ...["deno.json", "errors.ts", "escape.ts", "options.ts", "mod.ts"],
    ...["quant", "kernels", "runtime", "quantize", "serve"],
  ],
  "deno.json": [],
};

/** What each part that only developers run may import, beside itself. */
const WORKSHOPS: Readonly<Record<string, readonly string[]>> = {
  cases: ["errors.ts", "escape.ts", "quant", "kernels", "runtime", "mod.ts", "graph.ts"],
  browser: ["cli", "errors.ts", "escape.ts", "kernels", "mod.ts"],
  tools: ["cli", "errors.ts", "escape.ts"],
  bench: [...Object.keys(LAYERS), "cases"],
  tests: [...Object.keys(LAYERS), "cases", "bench", "browser", "tools"],
};

interface Edge {
  /** Path in the repository. */
  from: string;
  /** As it is written. */
  specifier: string;
  /** Path in the repository, or undefined for a package. */
  to: string | undefined;
}

/** Every import, literal `import()` and type import that can be reached from `entry`. */
async function importsOf(entry: string): Promise<Edge[]> {
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", entry],
    cwd: ROOT,
  }).output();
  assert(success, `deno info ${entry} failed`);
  const info = JSON.parse(new TextDecoder().decode(stdout));
  const path = (url: string | undefined): string | undefined =>
    url?.startsWith(ROOT.href) ? url.slice(ROOT.href.length) : undefined;
  const edges: Edge[] = [];
  for (const module of info.modules) {
    const from = path(module.specifier);
    if (from === undefined) continue;
    assertEquals(module.error, undefined, from);
    for (const { specifier, code, type } of module.dependencies ?? []) {
      edges.push({ from, specifier, to: path(code?.specifier ?? type?.specifier) });
    }
  }
  return edges;
}

const library = (await Promise.all(LIBRARY.map(importsOf))).flat();
const program = await importsOf("cli/main.ts");
const hub = await importsOf("runtime/hub/resolve.ts");

/** The part of the repository that a file belongs to. */
function layerOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.indexOf("/")) : path;
}

Deno.test("imports go one way", () => {
  assert(library.length > 100);
  for (const { from, to } of [...library, ...hub, ...program]) {
    const layer = layerOf(from);
    assert(layer in LAYERS, `${from} is reached from the library or the command line`);
    if (to === undefined || layerOf(to) === layer) continue;
    assert(LAYERS[layer]!.includes(layerOf(to)), `${from} imports ${to}`);
  }
});

Deno.test("cases, benchmarks, tests, tools and the browser's side import one way", () => {
  const paths = Object.keys(WORKSHOPS).flatMap((it) => sources(`${it}/`));
  let count = 0;
  const imports = new Map<string, string[]>();
  for (const from of paths) {
    const text = Deno.readTextFileSync(new URL(from, ROOT));
    const written = text.matchAll(
      /^(?:import |(?:import|export)\b[^;"]*? from )"([^"]+)"|\bimport\("(\.[^"]+)"\)/gm,
    );
    for (const [, name, later] of written) {
      const specifier = name ?? later!;
      if (!/^\.\.?\//.test(specifier)) continue;
      const url = new URL(specifier, new URL(from, ROOT)).href, layer = layerOf(from);
      assert(url.startsWith(ROOT.href), `${from} imports ${specifier}`);
      const to = url.slice(ROOT.href.length), other = layerOf(to);
      count++;
      if (paths.includes(to)) imports.set(from, [...imports.get(from) ?? [], to]);
      assert(other === layer || WORKSHOPS[layer]!.includes(other), `${from} imports ${to}`);
    }
  }
  assert(count > 300, `${count} imports`);
  walk(paths, (from) => imports.get(from) ?? []);
});

/** Goes from files to those that they import, and returns all of them; a circle fails. */
function walk(
  begin: Iterable<string>,
  importsOf: (path: string) => readonly string[],
): Set<string> {
  const done = new Set<string>();
  const visit = (path: string, above: readonly string[]): void => {
    assert(!above.includes(path), `circle: ${[...above, path].join(" → ")}`);
    if (done.has(path)) return;
    for (const to of importsOf(path)) visit(to, [...above, path]);
    done.add(path);
  };
  for (const path of begin) visit(path, []);
  return done;
}

Deno.test("no file waits for itself to load", () => {
  const imports = Map.groupBy([...library, ...program], ({ from }) => from);
  /** How an edge is written: `import type` and `import()` load nothing before the file runs. */
  const isStatic = ({ from, specifier }: Edge): boolean => {
    const text = Deno.readTextFileSync(new URL(from, ROOT));
    const statements = Array.from(text.matchAll(/^(?:import|export)( type)?\b[^;"]*"([^"]+)"/gm));
    return statements.some(([, type, name]) => name === specifier && type === undefined);
  };
  const done = walk(
    imports.keys(),
    (path) =>
      (imports.get(path) ?? []).flatMap((edge) => edge.to && isStatic(edge) ? [edge.to] : []),
  );
  assert(done.size > 80);
});

Deno.test("no kernel's source needs itself", () => {
  const kernels = sources("kernels/").filter((it) => it.endsWith(".as.ts"));
  const done = walk(kernels, (from) => {
    const text = Deno.readTextFileSync(new URL(from, ROOT));
    const names = Array.from(text.matchAll(/\bfrom "(\.[^"]+\.as)"/g), ([, name]) => `${name}.ts`);
    const paths = names.map((it) => new URL(it, new URL(from, ROOT)).href.slice(ROOT.href.length));
    return paths.filter((it) => kernels.includes(it)); // the build writes constants.as.ts
  });
  assert(done.size > 50, `${done.size} files`);
});

/** The rooms of `runtime/`, and what each may import beside itself. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  graph: [],
  backends: ["graph"],
  files: [],
  text: ["files"],
  hub: ["files"],
  models: ["graph", "files"],
  engine: ["graph", "backends", "files", "models"],
  generation: ["graph", "backends", "models", "engine", "text"],
  tasks: ["files", "models", "engine", "generation", "text"],
};

/** What stands at the root of `runtime/`, and may import every room. */
const TOP_FLOOR = ["compile.ts", "load.ts", "load_options.ts", "load_tokenizer.ts", "model.ts"];

Deno.test("the rooms of the runtime import each other one way", () => {
  const root = Array.from(Deno.readDirSync(new URL("runtime/", ROOT)));
  assertEquals(root.filter((it) => it.isFile).map(({ name }) => name).sort(), TOP_FLOOR);
  assertEquals(
    root.filter((it) => it.isDirectory).map(({ name }) => name).sort(),
    Object.keys(ROOMS).sort(),
  );
  const roomOf = (path: string): string => path.split("/")[1]!;
  for (const { from, to } of [...library, ...hub, ...program]) {
    if (!from.startsWith("runtime/") || !to?.startsWith("runtime/")) continue;
    const room = roomOf(from), other = roomOf(to);
    if (TOP_FLOOR.includes(room) || room === other) continue;
    assert(ROOMS[room]!.includes(other), `${from} imports ${to}`);
  }
});

Deno.test("no files import each other in a circle, not even for types", () => {
  const imports = Map.groupBy([...library, ...hub, ...program], ({ from }) => from);
  const done = new Set<string>(), path: string[] = [];
  const visit = (file: string): void => {
    const at = path.indexOf(file);
    assert(at < 0, `circle: ${[...path.slice(at), file].join(" → ")}`);
    if (done.has(file)) return;
    path.push(file);
    for (const { to } of imports.get(file) ?? []) if (to !== undefined && to !== file) visit(to);
    path.pop();
    done.add(file);
  };
  for (const file of imports.keys()) visit(file);
  assert(done.size > 200);
});

Deno.test("models know no backend, and backends are chosen in one place", () => {
  const isBackend = (path: string): boolean =>
    /^runtime\/backends\/(reference|wasm|webgpu)\//.test(path);
  for (const { from, to } of library) {
    if (to === undefined || !isBackend(to) || isBackend(from)) continue;
    assert(
      ["runtime/backends/create.ts", "runtime/backends/detect.ts"].includes(from),
      `${from} imports the backend ${to}`,
    );
  }
  for (const { from, to } of library) {
    if (!to || !isBackend(from) || !isBackend(to)) continue;
    assertEquals(from.split("/")[2], to.split("/")[2], `${from} imports another backend, ${to}`);
  }
});

Deno.test("the library names packages exactly, and in one file of each part", () => {
  for (const { from, specifier } of [...library, ...hub]) {
    if (/^\.\.?\//.test(specifier)) continue;
    assert(
      /^(npm:(@[\w-]+\/)?[\w-]+@\d+\.\d+\.\d+(\/[\w./-]+)?|node:\w+)$/.test(specifier),
      `${from} imports ${specifier}, expected a path or an exact npm: specifier`,
    );
    assert(DEPENDENCY_FILES.includes(from), `${from} imports ${specifier}`);
  }
});

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

Deno.test("one op is one folder", async () => {
  const folders = new Set<string>();
  for await (const { name, isDirectory } of Deno.readDir(new URL("kernels/", ROOT))) {
    if (!isDirectory) continue;
    const files = Array.from(Deno.readDirSync(new URL(`kernels/${name}/`, ROOT)), (it) => it.name);
    if (!files.includes("op.ts")) continue;
    folders.add(name);
    assert(files.includes("wasm.ts"), `kernels/${name} has no wasm.ts`);
    assert(files.some((it) => it.endsWith(".as.ts")), `kernels/${name} has no AssemblyScript`);
  }
  assertEquals(Array.from(folders).sort(), Object.keys(OPS).map(snakeCase).sort());
});

/** Paths of the sources in a folder, nested ones too. */
function sources(folder: string): string[] {
  return Array.from(Deno.readDirSync(new URL(folder, ROOT))).flatMap(({ name, isDirectory }) =>
    isDirectory
      ? name === "pkg" ? [] : sources(`${folder}${name}/`)
      : /\.(ts|js|wgsl)$/.test(name)
      ? [`${folder}${name}`]
      : []
  );
}

Deno.test("every path that the documents for developers name exists", () => {
  const paths: string[] = [];
  const walk = (folder: string): void => {
    for (const { name, isDirectory } of Deno.readDirSync(new URL(folder || "./", ROOT))) {
      if (name.startsWith(".") || name === "dist") continue;
      paths.push(`/${folder}${name}${isDirectory ? "/" : ""}`);
      if (isDirectory) walk(`${folder}${name}/`);
    }
  };
  walk("");
  for (const document of ["ARCHITECTURE.md", "CONTRIBUTING.md"]) {
    const text = Deno.readTextFileSync(new URL(document, ROOT));
    const named = Array.from(
      text.matchAll(/`([\w./<>-]+\/[\w./-]*|[\w-]+\.(?:ts|md|js|json|wgsl|as\.ts|py))`/g),
      ([, path]) => path!.replace("<op>", "matmul"),
    );
    assert(named.length > 3, `${document} names ${named.length} paths`);
    for (const path of named) {
      // A file of a room that the sentence is about may stand without the room's name.
      assert(paths.some((it) => it.endsWith(`/${path}`)), `${document} names ${path}`);
    }
  }
});

const PRODUCT = [
  "mod.ts",
  "graph.ts",
  "errors.ts",
  "escape.ts",
  ...["quant/", "kernels/", "runtime/", "cli/"].flatMap(sources),
];

Deno.test("names and values of others stand in messages by way of quote()", () => {
  for (const path of PRODUCT) {
    if (path.endsWith(".as.ts") || path === "escape.ts") continue;
    const text = Deno.readTextFileSync(new URL(path, ROOT));
    for (const [, name] of text.matchAll(/"\$\{\s*([^}]*)/g)) {
      // What the user would type, put in quotes, is no name of others.
      const ours = /^(commandName\(|(command|NAME)$)/.test(name!);
      assert(ours, `${path}: write \${quote(${name})} without quotes`);
    }
    assert(!/Error\([^;]*JSON\.stringify/.test(text), `${path}: write \${quote(…)} in an error`);
  }
});

Deno.test("the formatter leaves AssemblyScript alone", () => {
  for (const tool of ["fmt", "lint"]) {
    const excluded = [...config.exclude ?? [], ...config[tool].exclude ?? []];
    assert(excluded.includes("kernels/**/*.as.ts"), `deno ${tool} sees AssemblyScript`);
  }
  // It would delete every one of these.
  const inlined = PRODUCT.filter((path) => path.endsWith(".as.ts"))
    .filter((path) => Deno.readTextFileSync(new URL(path, ROOT)).includes("@inline"));
  assert(inlined.length >= 3, `@inline is left in ${inlined.join(", ") || "no file"}`);
});

Deno.test("files are short and begin with what they are", async () => {
  for (const path of PRODUCT) {
    const text = await Deno.readTextFile(new URL(path, ROOT));
    const lines = text.trimEnd().split("\n").length;
    assert(lines <= 400, `${path} has ${lines} lines, at most 400 expected`);
    assert(/^(\/\*\*|\/\/)/.test(text), `${path} does not begin with a comment`);
  }
});

Deno.test("numbers and helpers of kernels are defined once", async () => {
  const shared = new Set(Object.values(CONSTANTS).flat().map(([name]) => name));
  assert(shared.size > 30);
  const helpers = ["floatBits", "roundEven", "columnsOf", "elements"];
  const found: string[] = [];
  for (const path of PRODUCT) {
    const text = await Deno.readTextFile(new URL(path, ROOT));
    // AssemblyScript gets shared constants from the build, and WGSL the numbers of functions.
    for (const [, name] of text.matchAll(/^(?:@inline )?(?:export )?const (\w+): \w+ = /gm)) {
      if (path.endsWith(".as.ts")) assert(!shared.has(name!), `${path} defines ${name} again`);
    }
    for (const [, name] of text.matchAll(/^(?:export )?function (\w+)/gm)) {
      if (helpers.includes(name!)) found.push(name!);
    }
  }
  assertEquals(found.sort(), helpers.toSorted());
});

Deno.test("kernels/pkg is what its sources build", async () => {
  const { success, stderr, stdout } = await new Deno.Command(Deno.execPath(), {
    args: DEV_TASKS.kernels!.steps[0]!.split(" "),
    cwd: ROOT,
  }).output();
  assert(success, new TextDecoder().decode(stderr) + new TextDecoder().decode(stdout));
});
