/**
 * Names of the limits that kernels are compared with, and where memory begins.
 *
 * @module
 */

/** What can be measured; the first four in WebAssembly, the last by native code. */
export const LIMITS = {
  dram: "reading memory from WebAssembly, 16 bytes at a time, GB/s",
  cache: "reading 128 KiB again and again from WebAssembly, GB/s",
  madd: "multiply-adds of four f32, the widest that WebAssembly has, GFLOP/s",
  dot: "products of 16 bytes, added in pairs to i16, then added up, GOP/s",
  dramNative: "reading memory by the C library's memchr, as wide as the processor can, GB/s",
} as const;

/** What a kernel may be held back by; the table says what each is. */
export type LimitName = keyof typeof LIMITS;

/** Bytes of the last level of cache, as the system says; 32 MiB where it does not. */
export function lastLevelCacheBytes(): number {
  const root = "/sys/devices/system/cpu/cpu0/cache";
  let most = 0;
  try {
    for (const { name } of Deno.readDirSync(root)) {
      if (!name.startsWith("index")) continue;
      const [, size, unit] = /^(\d+)([KM])/.exec(Deno.readTextFileSync(`${root}/${name}/size`))!;
      most = Math.max(most, Number(size) * (unit === "K" ? 2 ** 10 : 2 ** 20));
    }
  } catch {
    // Not this system.
  }
  return most || 2 ** 25;
}
