/**
 * Which packages are fetched, and when: the product's own lock file names what its modules name and
 * nothing else, and no task reads a list that is longer than its work needs.
 */

import { assert, assertEquals } from "@std/assert";
import { DEV_TASKS } from "../tools/dev.ts";

const ROOT = new URL("../", import.meta.url);

interface Lock {
  specifiers: Record<string, string>;
  npm: Record<string, { integrity?: string }>;
}

async function readJson<T>(path: string): Promise<T> {
  return JSON.parse(await Deno.readTextFile(new URL(path, ROOT)));
}

const config = await readJson<{
  imports: Record<string, string>;
  tasks: Record<string, { command: string }>;
  lock: unknown;
  unstable: string[];
  allowScripts: { deny: string[] };
}>("deno.json");
const product = await readJson<Lock>("deno.lock");
const development = await readJson<Lock>("tests/deno.lock");

/** Tasks whose users have a model to run, not this repository to work on. */
const PRODUCT_TASKS = [
  ...["generate", "chat", "inspect", "score", "embed", "fill", "classify", "rerank"],
  ...["pull", "models", "page"],
];

/** Modules that `entry` reaches by what it runs (not by types), and all packages of its graph. */
async function reach(entry: string): Promise<{ code: Set<string>; packages: string[] }> {
  const { stdout, success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", entry],
    cwd: ROOT,
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  const info = JSON.parse(new TextDecoder().decode(stdout));
  interface Module {
    specifier: string;
    dependencies?: { specifier: string; code?: { specifier?: string } }[];
  }
  const modules = new Map((info.modules as Module[]).map((it) => [it.specifier, it]));
  const code = new Set<string>();
  const visit = (specifier: string): void => {
    if (code.has(specifier)) return;
    code.add(specifier);
    for (const it of modules.get(specifier)?.dependencies ?? []) {
      if (it.code?.specifier) visit(it.code.specifier);
    }
  };
  visit(new URL(entry, ROOT).href);
  return { code, packages: Object.keys(info.npmPackages ?? {}) };
}

/** Packages with exact versions that the sources of a folder name. */
function named(folder: string, except: readonly string[] = []): string[] {
  const found = new Set<string>();
  const visit = (path: string): void => {
    for (const { name, isDirectory } of Deno.readDirSync(new URL(path, ROOT))) {
      if (isDirectory && name !== "pkg" && name !== "golden") visit(`${path}${name}/`);
      if (!name.endsWith(".ts") || except.includes(path + name)) continue;
      const text = Deno.readTextFileSync(new URL(path + name, ROOT));
      for (const [, name] of text.matchAll(/["'`](npm:(?:@[\w.-]+\/)?[\w.-]+@\d[\w.-]*)/g)) {
        found.add(name!);
      }
    }
  };
  visit(folder);
  return Array.from(found);
}

Deno.test("deno.lock names the product's packages and no others", () => {
  const builds = ["kernels/asc.ts"];
  const packages = ["quant/", "kernels/", "runtime/", "serve/", "cli/"].flatMap((it) =>
    named(it, builds)
  );
  assertEquals(Object.keys(product.specifiers).sort(), Array.from(new Set(packages)).sort());
  // What the tests, the benchmarks and the build take from outside is in a list of its own.
  for (
    const specifier of [
      ...named("tests/"),
      ...named("tools/"),
      ...named("bench/"),
      ...named("kernels/"),
    ]
  ) {
    assert(specifier in development.specifiers, `tests/deno.lock lacks ${specifier}`);
  }
});

Deno.test("every package in both lock files has its hash, the same in both", () => {
  for (const [name, { integrity }] of Object.entries(product.npm)) {
    assert(/^sha512-.{86}==$/.test(integrity ?? ""), name);
    assertEquals(development.npm[name]?.integrity, integrity, name);
  }
  for (const [name, { integrity }] of Object.entries(development.npm)) {
    assert(/^sha512-.{86}==$/.test(integrity ?? ""), name);
  }
});

Deno.test("the library and the commands reach only packages of deno.lock", async () => {
  const serve = await reach("serve/handler.ts");
  for (const name of serve.packages) {
    assert(name in product.npm, `serve reaches ${name}, which deno.lock does not name`);
  }
  for (const entry of ["mod.ts", "graph.ts", "cli/main.ts"]) {
    const { code, packages } = await reach(entry);
    for (const name of packages) {
      assert(name in product.npm, `${entry} reaches ${name}, which deno.lock does not name`);
    }
    // Deno fetches what code names before it runs.
    assert(code.size > 20, entry);
    assertEquals(Array.from(code).filter((it) => it.startsWith("npm:")), [], entry);
  }
});

Deno.test("a benchmark fetches a compiler when it measures, not when it explains itself", async () => {
  const { code } = await reach("bench/main.ts");
  assertEquals(Array.from(code).filter((it) => it.startsWith("npm:")), []);
});

Deno.test("each task checks packages against a lock file, users' tasks against deno.lock", () => {
  // `deno task` itself fetches all that the default lock file and the import map name.
  assertEquals(config.lock, false);
  assert(config.unstable.includes("npm-lazy-caching"));
  for (const [name, to] of Object.entries(config.imports)) {
    const specifier = /^npm:(@[^/]+\/)?[^/]+/.exec(to)?.[0];
    assert(!specifier || specifier in product.specifiers, `deno.json imports ${name} from ${to}`);
  }
  for (const [name, { command }] of Object.entries(config.tasks)) {
    // tools/dev.ts itself loads no package.
    const steps = command.includes("tools/dev.ts") ? DEV_TASKS[name]?.steps ?? [] : [command];
    for (const step of steps) {
      if (["fmt --check", "lint"].includes(step)) continue;
      assert(/--lock=(tests\/)?deno\.lock/.test(step), `task ${name} has no --lock`);
    }
    if (PRODUCT_TASKS.includes(name)) assert(command.includes("--lock=deno.lock"), name);
  }
});

Deno.test("no package that runs a script when it is installed is met in silence or by a box", () => {
  const denied = config.allowScripts.deny;
  for (const lock of [product, development]) {
    for (const [name, entry] of Object.entries(lock.npm)) {
      if (!("scripts" in entry)) continue;
      assert(denied.includes(`npm:${name.replace(/@[^@]+$/, "")}`), `${name} has scripts`);
    }
  }
});
