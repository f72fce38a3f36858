/**
 * Runs the tests, all of them or one of each kind, and says at the end what was skipped and why.
 *
 * @module
 */

/** What `deno task test --help` prints. */
export const TEST_HELP = `Usage: deno task test [options of deno test] [FILE …]
       deno task test:quick

Runs all tests and the examples in the documentation: about 9 minutes of processor time, on
two cores half as long. Each test is named as it ends. "test:quick" runs one of each kind: about a
minute of processor time. Tests on WebGPU need a Vulkan driver (Debian: mesa-vulkan-drivers), those in a browser
/usr/bin/chromium; what is skipped for lack of them is said at the end, and with CI=true it fails.

  --filter TEXT       only tests whose name holds TEXT, or matches /TEXT/
  --help              print this

Packages that only tests use, 440 MB with vocabularies and a WebGPU compiler, are fetched when
they first run.`;

/** Files whose tests are small; with the ones of `SAMPLES` they are one of each kind. */
const QUICK = [
  ...["activations_wasm", "chat_template", "default_model", "dots", "escape", "experts", "gguf"],
  ...["graph", "hub_spec", "packages", "plan", "quant", "readme", "safetensors", "sampler"],
  ...["source", "stories", "text_decoder", "tokenizer_parts", "url_import"],
].map((name) => `tests/${name}_test.ts`);

/** Names of tests, from files that take longer as a whole. */
const SAMPLES: readonly (readonly [file: string, names: string])[] = [
  ["ops", String.raw`\w+: wasm, relaxed build, pairs, 2 threads|(add|matmul|embed): webgpu`],
  ["golden", String.raw`golden\(\) (llama|qwen2-moe-step) on`],
  ["gpu", "stories260K continues on webgpu"],
  ["failover", "a GPU that is lost does not end a text: greedy"],
  ["session", "a prompt gives the logits of its tokens"],
  ["cli", "generate writes the text to stdout"],
  ["hub", String.raw`resolveModel\(\) downloads over several connections`],
  ["browser", "the bundle is one module|a page writes on WebAssembly"],
];

/** Prints `help` where it is asked for. */
export function printHelp(args: readonly string[], help: string): boolean {
  const asked = args.includes("--help") || args.includes("-h");
  if (asked) console.log(help);
  return asked;
}

/** Runs `deno …` on this terminal and returns its exit code. */
export async function runDeno(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<number> {
  const child = new Deno.Command(Deno.execPath(), { args: [...args], env }).spawn();
  // Ctrl-C reaches the child too, and ends it; this process then says what it ended with.
  const wait = (): void => {};
  Deno.addSignalListener("SIGINT", wait);
  try {
    return (await child.status).code;
  } finally {
    Deno.removeSignalListener("SIGINT", wait);
  }
}

/** Runs all tests, those that `args` name, or one of each kind; returns the exit code. */
export async function runTests(args: readonly string[], quick: boolean): Promise<number> {
  const folder = await Deno.makeTempDir({ prefix: "sparrow_" });
  const base = ["test", "--lock=tests/deno.lock", "--parallel", "-A"];
  const names = SAMPLES.map(([, names]) => names).join("|");
  const runs = quick
    ? [
      [...QUICK, ...args],
      ["--filter", `/^(${names})/`, ...SAMPLES.map(([name]) => `tests/${name}_test.ts`), ...args],
    ]
    : [["--doc", ...args]];
  try {
    let code = 0;
    const reports: string[] = [];
    for (const [i, run] of runs.entries()) {
      const report = `${folder}/${i}.xml`;
      const all = [...base, `--junit-path=${report}`, ...run];
      code = await runDeno(all, { SPARROW_SKIPS: `${folder}/skips` }) || code;
      reports.push(await Deno.readTextFile(report).catch(() => ""));
    }
    const skips = await Deno.readTextFile(`${folder}/skips`).catch(() => "");
    for (const line of skipped(reports.join("\n"), skips)) console.log(line);
    return code;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/**
 * What was skipped, from the reports of `deno test` and the lines that `tests/skips.ts` wrote: one
 * line for each reason.
 */
export function skipped(reports: string, skips: string): string[] {
  const reasons = new Map(
    skips.split("\n").filter((line) => line !== "").map((line): [string, string] =>
      JSON.parse(line)
    ),
  );
  const counts = new Map<string, number>();
  for (const [, file, cases] of reports.matchAll(/<testsuite name="([^"]*)"(.*?)<\/testsuite>/gs)) {
    // Those that --filter left out have no time.
    const count = cases!.match(/<testcase [^>]*\btime="[^>]*>\s*<skipped\b/g)?.length ?? 0;
    const name = file!.slice(file!.lastIndexOf("/") + 1);
    const reason = reasons.get(name) ?? "its file says why";
    if (count > 0) counts.set(reason, (counts.get(reason) ?? 0) + count);
  }
  return Array.from(counts, ([reason, count]) => `skipped ${count}: ${reason}`);
}
