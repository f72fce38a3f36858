/** The tasks of deno.json: each explains itself, and `--help` does nothing else. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { DEV_TASKS } from "../tools/dev.ts";
import { skipped } from "../tools/test.ts";
import { taskArgs } from "./task_args.ts";

const ROOT = new URL("../", import.meta.url);
const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));

/** Runs a task's program as the task does. */
async function task(name: string, ...args: string[]): Promise<[number, string, string]> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...taskArgs(name), ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    signal: AbortSignal.timeout(120_000),
  }).output();
  const text = new TextDecoder();
  return [code, text.decode(stdout), text.decode(stderr)];
}

/** Everything that a task could write, with its time and size. */
function written(): string[] {
  return ["README.md", "deno.lock", "tests/deno.lock", "dist/sparrow.js", "kernels/pkg/module.js"]
    .map((path) => {
      try {
        const { mtime, size } = Deno.statSync(new URL(path, ROOT));
        return `${path} ${mtime?.getTime()} ${size}`;
      } catch {
        return `${path} is not there`;
      }
    });
}

Deno.test("every task explains itself with --help and -h, and does nothing else", async () => {
  const names = Object.keys(tasks);
  assert(names.length > 18);
  // The bundle is made by another test, maybe at this moment.
  const before = written().filter((it) => !it.startsWith("dist/"));
  for (const name of names) {
    for (const flag of ["--help", "-h"]) {
      const [code, stdout, stderr] = await task(name, flag);
      assertEquals([code, stderr], [0, ""], name);
      assertStringIncludes(stdout.split("\n")[0]!, `Usage: deno task ${name.split(":")[0]}`);
      assertStringIncludes(stdout, `deno task ${name}`);
    }
  }
  assertEquals(written().filter((it) => !it.startsWith("dist/")), before);
});

Deno.test("a task that takes no arguments refuses them, and does nothing", async () => {
  for (const name of ["ok", "build", "kernels", "lock", "readme"]) {
    const [code, stdout, stderr] = await task(name, "--now");
    assertEquals([code, stdout], [2, ""], name);
    assertEquals(stderr, `${name}: Cannot read "--now": the task takes nothing but --help\n`);
  }
});

Deno.test("every task of the developers is in deno.json, and has a description there", () => {
  for (const name of [...Object.keys(DEV_TASKS), "ok", "test", "test:quick"]) {
    assert(tasks[name].command.endsWith(` tools/dev.ts ${name}`), name);
  }
  for (const [name, { description }] of Object.entries<{ description: string }>(tasks)) {
    assert(description?.length > 3, name);
  }
});

Deno.test("skipped() counts the tests that were skipped, by reason", () => {
  const report = (file: string, skips: number): string =>
    `<testsuite name="./tests/${file}" tests="3">${
      '<testcase name="a" time="0.000" line="1">\n<skipped/></testcase>'.repeat(skips)
    }<testcase name="filtered"><skipped/></testcase><testcase name="b" time="1"></testcase></testsuite>`;
  const reports = report("a_test.ts", 2) + report("b_test.ts", 1) + report("c_test.ts", 0) +
    report("d_test.ts", 1);
  const skips = '["a_test.ts","no GPU"]\n["b_test.ts","no GPU"]\n["c_test.ts","no moon"]\n';
  assertEquals(skipped(reports, skips), ["skipped 3: no GPU", "skipped 1: its file says why"]);
  assertEquals(skipped(report("a_test.ts", 0), skips), []);
});
