/**
 * Names from others that become names of files here.
 *
 * @module
 */

/** Bytes that a file system gives one name. */
const NAME_BYTES = 255;
/** Bytes of a whole path, so that the folder before it has room too. */
const PATH_BYTES = 1024;

/** Controls (C0, DEL, C1), and what means something to a disk or a shell of some system. */
// deno-lint-ignore no-control-regex
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\\/:*?"<>|\u2028\u2029]/;

/** Devices on Windows, whatever follows the first dot. */
const RESERVED = /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)/i;

const utf8 = new TextEncoder();

/**
 * Whether a name is that of a file in a folder on every system: no separator, drive, control character,
 * device or `..`, no blank or dot at its end, and not too long.
 */
export function isSafeName(name: string): boolean {
  return name !== "" && name.isWellFormed() && utf8.encode(name).length <= NAME_BYTES &&
    !FORBIDDEN.test(name) && !RESERVED.test(name) && !/[.\s]$/.test(name);
}

/** Whether a path, in parts between `/`, stays inside the folder that it is joined to, on every system. */
export function isSafePath(path: string): boolean {
  return utf8.encode(path).length <= PATH_BYTES && path.split("/").every(isSafeName);
}
