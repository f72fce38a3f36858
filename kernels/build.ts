/**
 * `deno task build`: compiles the AssemblyScript kernels twice, with and without relaxed SIMD, and
 * writes `kernels/pkg/` in the layout of wasm-pack's `web` target. The output depends on the
 * sources alone: building twice gives the same bytes. `--check` compares instead of writing.
 *
 * @module
 */

import { generateConstants } from "./build_constants.ts";
import { generateGlue, generatePackage } from "./build_glue.ts";
import { KERNEL_NAMES } from "./wasm.ts";
import { SparrowError } from "../errors.ts";

const ROOT = new URL("./", import.meta.url);
const PKG = new URL("pkg/", ROOT);

/**
 * `-O0`: the optimizer serializes accumulators and re-materializes constants, which makes SIMD
 * loops up to three times slower. The two passes only share locals, a third of the size. A large declared initial memory lets V8 drop bounds checks for
 * constant offsets.
 */
const FLAGS = [
  "-O0",
  "--runPasses=coalesce-locals,vacuum",
  "--runtime=stub",
  "--use=abort=",
  "--noAssert",
  "--importMemory",
  "--sharedMemory",
  "--initialMemory=160",
  "--maximumMemory=65536",
  "--enable=simd,threads",
];

/** Source file, relative to kernels/ and without `.ts`, of every exported kernel function. */
async function findKernels(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const folder of Deno.readDir(ROOT)) {
    if (!folder.isDirectory || folder.name === "pkg" || folder.name === "quantizers") continue;
    for await (const file of Deno.readDir(new URL(`${folder.name}/`, ROOT))) {
      if (!file.name.endsWith(".as.ts")) continue;
      const path = `${folder.name}/${file.name}`;
      const text = await Deno.readTextFile(new URL(path, ROOT));
      for (const [, name] of text.matchAll(/^export function (\w+)\(\s*args: usize/gm)) {
        if (found.has(name!)) {
          throw new SparrowError(`${path} exports ${name}, as ${found.get(name!)} does`);
        }
        found.set(name!, path.replace(/\.ts$/, ""));
      }
    }
  }
  for (const name of KERNEL_NAMES) {
    if (!found.has(name)) throw new SparrowError(`no kernels/*/*.as.ts exports ${name}`);
  }
  for (const [name, path] of found) {
    if (!KERNEL_NAMES.includes(name)) {
      throw new SparrowError(`${path} exports ${name}, which no row names`);
    }
  }
  return found;
}

/** The sources that follow from tables: constants, the opcode switch, and the module's exports. */
function generateSources(kernels: ReadonlyMap<string, string>): Record<string, string> {
  const imports = Array.from(kernels, ([name, path]) => `import { ${name} } from "./${path}";`);
  const cases = KERNEL_NAMES.map((name, opcode) =>
    `    case ${opcode}: ${name}(args, worker, workers); break;`
  );
  const dispatch = [
    ...imports,
    "export function dispatch(op: i32, args: usize, worker: i32, workers: i32): void {",
    "  switch (op) {",
    ...cases,
    "  }",
    "}",
  ];
  const exports = Array.from(kernels, ([name, path]) => `export { ${name} } from "./${path}";`);
  return {
    "constants.as.ts": generateConstants(),
    "quantizers.as.ts": QUANTIZERS,
    "dispatch.as.ts": dispatch.join("\n"),
    "kernels.as.ts": [
      ...exports,
      `export { run, barrier } from "./tape.as";`,
      `export { probeDots } from "./dots.as";`,
    ].join("\n"),
  };
}

/** The module of whoever makes weights smaller, which has no steps and no tape. */
const QUANTIZERS = [
  `export { encodeNearest } from "./quantizers/nearest.as";`,
  `export { decode } from "./pack/decode.as";`,
  `export { encodeRows, foldedLoss, gptqRows, spreadRows } from "./quantizers/rows.as";`,
  `export * from "./quantizers/sums.as";`,
  `export * from "./quantizers/factor.as";`,
  `export { clear, copy, multiply, scaleNumbers } from "./quantizers/multiply.as";`,
  `export { packRows, transposePanels, unpackRows } from "./quantizers/multiply.as";`,
].join("\n");

/** Compiles a module; `relaxed` adds the relaxed SIMD instructions. */
async function compile(
  sources: Record<string, string>,
  relaxed: boolean,
  entry = "kernels.as.ts",
): Promise<Uint8Array> {
  // Loaded here, where what it needs and does not get can be told.
  const { default: asc } = await import("./asc.ts");
  let output: Uint8Array | undefined;
  const { error, stderr } = await asc.main(
    [
      entry,
      "--outFile=out.wasm",
      ...FLAGS,
      ...(relaxed ? ["--enable=relaxed-simd"] : []),
    ],
    {
      readFile(name: string): string | null {
        if (name in sources) return sources[name]!;
        try {
          return Deno.readTextFileSync(new URL(name, ROOT));
        } catch {
          return null;
        }
      },
      writeFile(_name: string, contents: string | Uint8Array): void {
        output = contents as Uint8Array;
      },
      listFiles: () => [],
    },
  );
  if (error || !output) throw new SparrowError(`asc failed\n${stderr}`);
  return output;
}

async function build(): Promise<Record<string, Uint8Array>> {
  const kernels = await findKernels();
  const sources = generateSources(kernels);
  const config = JSON.parse(await Deno.readTextFile(new URL("../deno.json", ROOT)));
  const text = {
    ...generateGlue(KERNEL_NAMES),
    "package.json": generatePackage(config),
  };
  const encoder = new TextEncoder();
  return {
    "kernels_bg.wasm": await compile(sources, true),
    "kernels_plain_bg.wasm": await compile(sources, false),
    "quantizers_bg.wasm": await compile(sources, true, "quantizers.as.ts"),
    "quantizers_plain_bg.wasm": await compile(sources, false, "quantizers.as.ts"),
    ...Object.fromEntries(Object.entries(text).map(([k, v]) => [k, encoder.encode(v)])),
  };
}

const HELP = `Usage: deno task build
       deno task kernels

Compiles the AssemblyScript kernels into kernels/pkg/; "kernels", or --check, only compares.

  --check         compare with kernels/pkg/ and write nothing; exit code 1 when it differs
  -h, --help      print this

Exit codes: 0 done, 1 failed, 2 wrong usage.`;

/** Builds and compares or writes; the result is the exit code. */
async function main(check: boolean): Promise<number> {
  const files = await build();
  const stale: string[] = [];
  for (const [name, bytes] of Object.entries(files)) {
    const url = new URL(name, PKG);
    const old = await Deno.readFile(url).catch(() => new Uint8Array());
    if (old.length === bytes.length && old.every((byte, i) => byte === bytes[i])) continue;
    stale.push(name);
    if (check) continue;
    try {
      await Deno.mkdir(PKG, { recursive: true });
      await Deno.writeFile(url, bytes);
    } catch (cause) {
      throw new SparrowError(`Cannot write kernels/pkg/${name}: ${(cause as Error).message}`, {
        cause,
      });
    }
  }
  console.log(
    stale.length === 0
      ? `kernels/pkg is up to date: ${KERNEL_NAMES.length} kernels, ` +
        `${files["kernels_bg.wasm"]!.length} bytes`
      : `${stale.join(", ")} ${check ? "differ from" : "were written to"} kernels/pkg`,
  );
  return stale.length > 0 && check ? 1 : 0;
}

if (import.meta.main) {
  const unknown = Deno.args.find((it) => !["--check", "--help", "-h"].includes(it));
  if (Deno.args.includes("--help") || Deno.args.includes("-h")) {
    console.log(HELP);
    Deno.exit(0);
  }
  if (unknown !== undefined) {
    console.error(`build: Cannot read ${JSON.stringify(unknown)}: expected --check or nothing`);
    Deno.exit(2);
  }
  try {
    Deno.exit(await main(Deno.args.includes("--check")));
  } catch (error) {
    if (!(error instanceof SparrowError || error instanceof Deno.errors.NotCapable)) throw error;
    console.error(`build: ${error.message}`);
    Deno.exit(1);
  }
}
