/** How much memory control groups leave, from trees of their files as systems have them. */

import { assert, assertEquals } from "@std/assert";
import { availableMemory, cgroupMemory } from "../runtime/backends/available_memory.ts";

const GB = 1e9;

/** What a tree of files leaves; paths without a leading slash are under /sys/fs/cgroup/. */
function available(cgroup: string, files: Record<string, string | number>): number {
  const tree: Record<string, string> = { "/proc/self/cgroup": cgroup };
  for (const [path, text] of Object.entries(files)) tree[`/sys/fs/cgroup/${path}`] = `${text}\n`;
  return cgroupMemory((path) => tree[path]);
}

Deno.test("cgroupMemory() reads version 2", () => {
  const stat = "anon 1000\nfile 900000000\ninactive_file 300000000\nactive_file 100000000\nshmem 7";
  // A container sees its own group as the root.
  assertEquals(available("0::/\n", { "memory.max": 4 * GB, "memory.current": 0 }), 4 * GB);
  assertEquals(
    available("0::/\n", { "memory.max": 4 * GB, "memory.current": GB, "memory.stat": stat }),
    3.4 * GB,
  );
  // memory.high holds where it is less; "max" is no limit.
  assertEquals(available("0::/", { "memory.max": "max", "memory.high": 2 * GB }), 2 * GB);
  assertEquals(available("0::/", { "memory.max": 3 * GB, "memory.high": "max" }), 3 * GB);
  assertEquals(available("0::/", { "memory.max": "max", "memory.high": "max" }), Infinity);
  // The smallest of all groups above, each with its own use.
  const nested = {
    "memory.max": "max",
    "system.slice/memory.max": 8 * GB,
    "system.slice/memory.current": 7 * GB,
    "system.slice/it.service/memory.max": 4 * GB,
    "system.slice/it.service/memory.current": GB,
  };
  assertEquals(available("0::/system.slice/it.service", nested), GB);
  assertEquals(
    available("0::/system.slice/it.service", { ...nested, "system.slice/memory.current": GB }),
    3 * GB,
  );
  // A path that cannot be seen from inside, or begins above the root.
  assertEquals(available("0::/docker/abc", { "memory.max": GB }), GB);
  assertEquals(available("0::/../../other", { "memory.max": GB }), GB);
  // More is in use than may be: nothing is left, not less.
  assertEquals(available("0::/", { "memory.max": GB, "memory.current": 2 * GB }), 0);
  // Cached bytes that are more than the use count as no more than the limit.
  assertEquals(
    available("0::/", { "memory.max": GB, "memory.current": 5, "memory.stat": stat }),
    GB,
  );
});

Deno.test("cgroupMemory() reads version 1, and both beside each other", () => {
  const cgroup = "9:name=systemd:/\n8:pids:/\n4:cpu,cpuacct:/\n3:memory:/docker/abc\n0::/\n";
  const stat = "inactive_file 1\ntotal_inactive_file 200000000\ntotal_active_file 50000000";
  const files = {
    "memory/memory.limit_in_bytes": 2 * GB,
    "memory/memory.usage_in_bytes": GB,
    "memory/memory.stat": stat,
  };
  assertEquals(available(cgroup, files), 1.25 * GB);
  assertEquals(available(cgroup, { ...files, "memory/docker/abc/memory.limit_in_bytes": GB }), GB);
  // What stands for no limit.
  for (const none of ["9223372036854771712", "9223372036854775807", "-1", "18446744073709551615"]) {
    assertEquals(available(cgroup, { "memory/memory.limit_in_bytes": none }), Infinity);
  }
  assertEquals(available("3:cpuset,memory:/\n", { "memory/memory.limit_in_bytes": GB }), GB);
  assertEquals(available(cgroup, { ...files, "unified/memory.max": GB }), GB);
  assertEquals(available(cgroup, { ...files, "memory.max": GB / 2 }), GB / 2);
  assertEquals(available("4:cpu:/\n", files), Infinity);
});

Deno.test("cgroupMemory() takes nonsense for no limit", () => {
  for (const cgroup of ["", "\0", "0::", "x:y:z", "0:memory", "0::relative", ":".repeat(1e5)]) {
    assertEquals(available(cgroup, { "memory.max": GB }), Infinity);
  }
  for (const text of ["", "many", "1e9", "0x10", "-5", "1 2"]) {
    assertEquals(available("0::/", { "memory.max": text }), Infinity);
    assertEquals(available("0::/", { "memory.max": GB, "memory.current": text }), GB);
  }
  assertEquals(cgroupMemory(() => undefined), Infinity);
});

Deno.test("availableMemory() asks nobody: without permissions it is Infinity", async () => {
  assert(availableMemory() > 0 && availableMemory() < Infinity);
  const module = new URL("../runtime/backends/available_memory.ts", import.meta.url);
  const code = `import { availableMemory } from "${module}"; console.log(availableMemory());`;
  const run = async (...flags: string[]): Promise<number> => {
    const script = await Deno.makeTempFile({ suffix: ".ts" });
    await Deno.writeTextFile(script, code);
    const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-config", ...flags, script],
      stdin: "null",
    }).output();
    await Deno.remove(script);
    assert(success, new TextDecoder().decode(stderr));
    return Number(new TextDecoder().decode(stdout));
  };
  assertEquals(await run("--no-prompt"), Infinity);
  assertEquals(await run("--no-prompt", "--allow-read"), Infinity);
  const known = await run("--no-prompt", "--allow-sys");
  assert(known > 0 && known < 2 ** 53);
});
