import { assert, assertEquals, assertInstanceOf, assertMatch, assertRejects } from "@std/assert";
import { FormatError, InputError, SourceError } from "../errors.ts";
import { folderOf, memoryFolder, openFolder } from "../runtime/files/folder.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { type ByteSource, NotFoundError, openSource } from "../runtime/files/source.ts";
import { randomNumbers } from "./fixtures.ts";

const LENGTH = 3 << 20;
const DATA = Uint8Array.from({ length: LENGTH }, (_, i) => i * 7 ^ i >> 8 ^ i >> 16);

/** A loopback server for one test. */
function serve(
  handler: (request: Request) => Response | Promise<Response>,
): { url: string; [Symbol.asyncDispose](): Promise<void> } {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, handler);
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Answers as a server with ranges does. */
function ranged(request: Request, data: Uint8Array<ArrayBuffer> = DATA): Response {
  const first = Number(/^bytes=(\d+)-$/.exec(request.headers.get("Range") ?? "")?.[1]);
  if (data.length === 0) {
    return new Response(null, { status: 416, headers: { "Content-Range": "bytes */0" } });
  }
  return new Response(data.subarray(first), {
    status: 206,
    headers: { "Content-Range": `bytes ${first}-${data.length - 1}/${data.length}` },
  });
}

/** A server of raw bytes: each connection gets the next answer, then is cut. */
function serveRaw(answers: (request: string) => Uint8Array | string): {
  url: string;
  [Symbol.asyncDispose](): Promise<void>;
} {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const done = (async () => {
    for await (const connection of listener) {
      const buffer = new Uint8Array(4096);
      const count = await connection.read(buffer) ?? 0;
      const answer = answers(new TextDecoder().decode(buffer.subarray(0, count)));
      const bytes = typeof answer === "string" ? new TextEncoder().encode(answer) : answer;
      for (let sent = 0; sent < bytes.length;) {
        sent += await connection.write(bytes.subarray(sent)).catch(() => bytes.length);
      }
      connection.close();
    }
  })();
  return {
    url: `http://127.0.0.1:${(listener.addr as Deno.NetAddr).port}/`,
    async [Symbol.asyncDispose](): Promise<void> {
      listener.close();
      await done.catch(() => {});
    },
  };
}

async function assertReads(source: ByteSource, ranges: [number, number][]): Promise<void> {
  for (const [offset, length] of ranges) {
    const bytes = await source.read(offset, length);
    assertEquals(bytes.length, length);
    // Whole arrays of this size make assertEquals slow.
    assert(bytes.every((byte, i) => byte === DATA[offset + i]), `${offset}+${length}`);
  }
}

const RANGES: [number, number][] = [
  [0, 8],
  [8, 100_000],
  [100_008, 0],
  [2_000_000, 1000],
  [5, 5],
  [LENGTH - 1, 1],
  [LENGTH, 0],
  [0, LENGTH],
];

async function withFile(test: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeFile(`${folder}/a b%20#.bin`, DATA);
    await test(`${folder}/a b%20#.bin`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("openSource() reads paths, file URLs, Blobs and bytes at any position", () =>
  withFile(async (path) => {
    const url = new URL("file:///");
    url.pathname = path.split("/").map(encodeURIComponent).join("/");
    const file = new File([DATA], "picked.bin");
    for (const location of [path, url, url.href, file, DATA]) {
      const source = await openSource(location);
      assertEquals(source.size, LENGTH);
      await assertReads(source, RANGES);
      source.close();
      await assertRejects(() => source.read(0, 1), SourceError, "it is closed");
    }
    assertEquals((await openSource(file)).name, "picked.bin");
  }));

Deno.test("read() serves concurrent callers, into their buffers", () =>
  withFile(async (path) => {
    await using server = serve((request) => ranged(request));
    for (const location of [path, server.url, new Blob([DATA])]) {
      const source = await openSource(location);
      const random = randomNumbers(7);
      await Promise.all(Array.from({ length: 60 }, async () => {
        const offset = Math.floor(random() * (LENGTH - 5000));
        const into = new Uint8Array(6000).fill(1);
        const bytes = await source.read(offset, 5000, into);
        assertEquals(bytes.buffer, into.buffer);
        assertEquals(bytes, DATA.slice(offset, offset + 5000));
        assertEquals(into[5000], 1);
      }));
      source.close();
    }
  }));

Deno.test("read() refuses ranges outside the source before it allocates", async () => {
  const source = await openSource(DATA);
  for (
    const [offset, length] of [[LENGTH, 1], [0, 2 ** 50], [-1, 2], [0, -1], [NaN, 1], [1, NaN]]
  ) {
    await assertRejects(() => source.read(offset, length), SourceError, `but it has ${LENGTH}`);
  }
  await assertRejects(() => source.read(0, 4, new Uint8Array(3)), InputError, "do not fit");
});

Deno.test("openSource() names what is wrong with a path", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await assertRejects(() => openSource(`${folder}/none`), NotFoundError, `"${folder}/none"`);
    await assertRejects(() => openSource(folder), SourceError, "it is a directory");
    await assertRejects(() => openSource("ftp://host/file"), InputError, "scheme ftp:");
    await assertRejects(() => openSource("http://"), InputError, "malformed URL");
    if (Deno.build.os !== "windows") {
      await assertRejects(() => openSource("/dev/zero"), SourceError, "neither a file nor");
    }
    await Deno.writeFile(`${folder}/cut`, DATA);
    const source = await openSource(`${folder}/cut`);
    await Deno.truncate(`${folder}/cut`, 1000);
    await assertRejects(() => source.read(0, 2000), SourceError, "ends at byte 1000");
    await assertReads(source, [[0, 1000]]);
    source.close();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test({
  name: "openSource() names the flag when reading is not permitted",
  permissions: { read: false, net: false },
  async fn() {
    await assertRejects(() => openSource("/x.gguf"), SourceError, '--allow-read="/x.gguf"');
    await assertRejects(() => openSource("http://h.test/x"), SourceError, "--allow-net=h.test");
  },
});

Deno.test("openSource() streams over one connection, and asks again only to jump", async () => {
  const requests: string[] = [];
  await using server = serve((request) => {
    requests.push(request.headers.get("Range")!);
    return ranged(request);
  });
  const source = await openSource(server.url + "m.gguf?token=secret");
  assertEquals(source.name, server.url + "m.gguf");
  assertEquals(source.size, LENGTH);
  for (let at = 0; at < LENGTH; at += 1 << 18) await assertReads(source, [[at, 1 << 18]]);
  assertEquals(requests, ["bytes=0-"]);
  await assertReads(source, [[10, 10], [500_000, 10], [2_900_000, 10], [11, 3]]);
  assertEquals(requests, ["bytes=0-", "bytes=10-", "bytes=2900000-", "bytes=11-"]);
  source.close();
});

Deno.test("openSource() reads from servers that ignore ranges", async () => {
  let requests = 0;
  await using server = serve(() => {
    requests++;
    return new Response(DATA, { headers: { "Content-Length": String(LENGTH) } });
  });
  const source = await openSource(server.url);
  await assertReads(source, RANGES);
  assertEquals(requests, 3); // twice a position lay behind the last one read
  source.close();
});

Deno.test("openSource() follows redirects and opens empty files", async () => {
  await using server = serve((request) => {
    if (request.url.endsWith("/old")) return Response.redirect(server.url + "new");
    return ranged(request, request.url.endsWith("/new") ? DATA : new Uint8Array());
  });
  const source = await openSource(server.url + "old");
  await assertReads(source, [[5, 10], [1, 1]]);
  source.close();
  const empty = await openSource(server.url + "empty");
  assertEquals(empty.size, 0);
  assertEquals((await empty.read(0, 0)).length, 0);
  empty.close();
});

Deno.test("openSource() sends a URL's credentials and never shows them", async () => {
  const seen: (string | null)[] = [];
  await using server = serve((request) => {
    seen.push(request.headers.get("Authorization"));
    return new Response("no", { status: 403 });
  });
  const url = server.url.replace("//", "//us%65r:pass@") + "m.gguf?token=secret#part";
  const error = await assertRejects(() => openSource(url), SourceError, "status 403 Forbidden");
  assertEquals(seen, [`Basic ${btoa("user:pass")}`]);
  // A closed port: here the system's own message quotes the URL.
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const refused = await assertRejects(
    () => openSource(`http://user:pass@127.0.0.1:${port}/m.gguf?token=secret`),
    SourceError,
    `127.0.0.1:${port}/m.gguf`,
  );
  for (const { message, cause } of [error, refused]) {
    assertEquals(/user|pass|token|secret|part/.exec(message), null);
    assertEquals(cause, undefined);
  }
});

Deno.test("openSource() names URL and status of a server's refusal", async () => {
  const responses: Record<string, () => Response> = {
    missing: () => new Response("", { status: 404 }),
    gone: () => new Response("", { status: 410 }),
    broken: () => new Response("", { status: 500 }),
    sizeless: () => new Response(new Blob([DATA]).stream()),
    wrong: () => new Response("x", { status: 206, headers: { "Content-Range": "bytes 5-5/9" } }),
    unknown: () => new Response("x", { status: 206, headers: { "Content-Range": "bytes 0-0/*" } }),
  };
  await using server = serve((request) => responses[new URL(request.url).pathname.slice(1)]());
  const expected: Record<string, string> = {
    missing: "status 404 Not Found",
    gone: "status 410",
    broken: "status 500 Internal Server Error, expected status 200 or 206",
    sizeless: "status 200 OK, the server does not tell the file's size",
    wrong: 'Content-Range is "bytes 5-5/9", expected bytes 0-',
    unknown: 'Content-Range is "bytes 0-0/*", expected bytes 0-',
  };
  for (const name in expected) {
    const error = await assertRejects(() => openSource(server.url + name), SourceError);
    assert(error.message.includes(expected[name]), error.message);
    assert(error.message.includes(`"${server.url}${name}"`), error.message);
    assertEquals(error instanceof NotFoundError, name === "missing" || name === "gone");
  }
});

Deno.test("read() resumes a lost connection", async () => {
  const asked: string[] = [];
  await using server = serveRaw((request) => {
    const first = Number(/range: bytes=(\d+)-/i.exec(request)?.[1]);
    asked.push(`${first}`);
    const head = `HTTP/1.1 206 Partial Content\r\nContent-Length: ${LENGTH - first}\r\n` +
      `Content-Range: bytes ${first}-${LENGTH - 1}/${LENGTH}\r\n\r\n`;
    const body = DATA.subarray(first, first + 2_000_000);
    return new Uint8Array([...new TextEncoder().encode(head), ...body]);
  });
  const source = await openSource(server.url);
  await assertReads(source, [[0, LENGTH]]);
  assertEquals(asked, ["0", "2000000"]);
  source.close();
});

Deno.test("read() fails on short bodies and on files that change", async () => {
  let total = 1000;
  let cut = true;
  await using server = serveRaw((request) => {
    const first = Number(/range: bytes=(\d+)-/i.exec(request)?.[1]);
    const end = cut ? Math.min(600, total) : total;
    return `HTTP/1.1 206 Partial Content\r\nContent-Length: ${total - first}\r\n` +
      `Content-Range: bytes ${first}-${total - 1}/${total}\r\n\r\n` +
      "x".repeat(Math.max(end - first, 0));
  });
  const source = await openSource(server.url);
  const error = await assertRejects(() => source.read(0, 1000), SourceError);
  assertMatch(error.message, /status 206 .*lost at byte 600 of 1000/);
  total = 900;
  cut = false;
  await assertRejects(() => source.read(0, 10), SourceError, "has 900 bytes now, but had 1000");
  source.close();
});

Deno.test("openSource() fails on answers that are not HTTP", async () => {
  for (const answer of ["", "nonsense\r\n\r\n", "HTTP/1.1 206 Partial"]) {
    await using server = serveRaw(() => answer);
    await assertRejects(() => openSource(server.url), SourceError, server.url);
  }
});

Deno.test("read() ends with the signal's reason, or when the server stalls", async () => {
  const never = Promise.withResolvers<Response>();
  await using server = serve((request) => {
    if (request.url.endsWith("/never")) return never.promise;
    const body = new ReadableStream({ start: (it) => it.enqueue(new Uint8Array(10)) });
    return new Response(body, { headers: { "Content-Length": "100" } });
  });
  using _ = { [Symbol.dispose]: () => never.resolve(new Response()) };
  const controller = new AbortController();
  const { signal } = controller;
  const source = await openSource(server.url, { signal });
  const stalled = source.read(0, 100);
  const reason = new Error("enough");
  setTimeout(() => controller.abort(reason), 20);
  assertEquals(await assertRejects(() => stalled), reason);
  assertEquals(await assertRejects(() => source.read(0, 1)), reason);
  assertEquals(await assertRejects(() => openSource(server.url, { signal })), reason);
  source.close();

  const slow = await openSource(server.url, { stallTimeout: 50 });
  await assertRejects(() => slow.read(0, 100), SourceError, "nothing came for 0.05 s");
  slow.close();
  const closed = await openSource(server.url);
  const pending = assertRejects(() => closed.read(0, 100), SourceError, "it was closed");
  setTimeout(() => closed.close(), 20);
  await pending;
  await assertRejects(
    () => openSource(server.url + "never", { stallTimeout: 50 }),
    SourceError,
    "nothing came",
  );
  await assertRejects(
    () => openSource(server.url + "never", { signal: AbortSignal.timeout(20) }),
    DOMException,
  );
});

Deno.test("read() gives up a server that trickles, and not one that is merely slow", async () => {
  let pause = 0;
  await using server = serve(() => {
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        controller.enqueue(new Uint8Array(pause ? 1 : 500));
      },
    });
    return new Response(body, { headers: { "Content-Length": "100000" } });
  });
  pause = 10;
  const trickle = await openSource(server.url, { slowTimeout: 100 });
  const error = await assertRejects(() => trickle.read(0, 100_000), SourceError);
  assertMatch(error.message, /sends less than 250 bytes a second/);
  trickle.close();
  pause = 0;
  const slow = await openSource(server.url, { slowTimeout: 100 });
  assertEquals((await slow.read(0, 20_000)).length, 20_000);
  slow.close();
});

Deno.test("openSource() believes no size that no file has, and takes no compressed body", async () => {
  for (
    const [answer, message] of [
      [`206 OK\r\nContent-Range: bytes 0-3/${2 ** 50}`, "expected at most 8796093022208"],
      [`206 OK\r\nContent-Range: bytes 0-3/${"9".repeat(400)}`, "expected at most"],
      [`200 OK\r\nContent-Length: ${2 ** 50}`, "expected at most"],
      ["206 OK\r\nContent-Range: bytes 0-3/4\r\nContent-Encoding: gzip", 'in coding "gzip"'],
      ["200 OK\r\nContent-Length: 4\r\nContent-Encoding: br", 'in coding "br"'],
    ]
  ) {
    let asked = "";
    await using server = serveRaw((request) => {
      asked = request;
      return `HTTP/1.1 ${answer}\r\n\r\nGGUF`;
    });
    const before = Deno.memoryUsage().rss;
    await assertRejects(() => openSource(server.url), SourceError, message);
    assertMatch(asked, /accept-encoding: identity/i);
    assert(Deno.memoryUsage().rss - before < 100e6);
  }
});

Deno.test("openModelFile() reads no JSON of a server that is larger than any of its kind", async () => {
  const header = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}';
  const weights = new Uint8Array(8 + header.length + 4);
  new DataView(weights.buffer).setUint32(0, header.length, true);
  weights.set(new TextEncoder().encode(header), 8);
  const text = String.fromCharCode(...weights);
  for (const large of ["config.json", "tokenizer.json", "tokenizer_config.json"]) {
    await using server = serveRaw((request) => {
      const name = /^GET \/([\w.]+)/.exec(request)![1]!;
      const body = name === "model.safetensors" ? text : "{}";
      const size = name === large ? 2 ** 31 : body.length;
      return `HTTP/1.1 206 OK\r\nContent-Range: bytes 0-${size - 1}/${size}\r\n` +
        `Content-Length: ${size}\r\n\r\n${body}`;
    });
    const before = Deno.memoryUsage().rss;
    const error = await assertRejects(
      () => openModelFile(`${server.url}model.safetensors`),
      FormatError,
    );
    const most = large === "tokenizer.json" ? 128 << 20 : 32 << 20;
    assertMatch(error.message, new RegExp(`${large}": it has 2147483648 bytes, .* ${most}`));
    assert(Deno.memoryUsage().rss - before < 100e6);
  }
});

Deno.test("openSource() ends redirects in circles, and sends credentials to no other host", async () => {
  await using circle = serve((request) => Response.redirect(request.url, 302));
  await assertRejects(() => openSource(circle.url), SourceError, "redirect");
  const seen: (string | null)[] = [];
  await using other = serve((request) => {
    seen.push(request.headers.get("Authorization"));
    return ranged(request);
  });
  await using first = serve((request) => {
    seen.push(request.headers.get("Authorization"));
    return Response.redirect(other.url, 302);
  });
  const url = new URL(first.url);
  [url.username, url.password] = ["me", "s3cr3t"];
  (await openSource(url)).close();
  assertEquals(seen.map((it) => it?.startsWith("Basic") ?? false), [true, false]);
});

Deno.test("folders open files beside each other", () =>
  withFile(async (path) => {
    const directory = path.replace(/[^/]*$/, "");
    const url = new URL(`file://${directory}`);
    await using server = serve((request) => {
      const { pathname, search } = new URL(request.url);
      assertEquals(search, "?token=1");
      return pathname === "/models/a%20b%2520%23.bin"
        ? ranged(request)
        : new Response("", { status: 404 });
    });
    const folders = [
      openFolder(directory),
      openFolder(directory.slice(0, -1)),
      folderOf(`${directory}other.bin`),
      openFolder(url),
      folderOf(new URL("other.bin", url)),
      openFolder(`${server.url}models?token=1`),
      folderOf(`${server.url}models/other.bin?token=1`),
      memoryFolder("memory/", { "a b%20#.bin": DATA }),
    ];
    for (const folder of folders) {
      const source = await folder.open("a b%20#.bin");
      assertEquals(source.size, LENGTH);
      source.close();
      assertInstanceOf(await folder.open("none").catch((error) => error), NotFoundError);
      const names = await folder.list();
      assertEquals(names, folder.name.startsWith("http") ? undefined : ["a b%20#.bin"]);
    }
    assertEquals(folderOf("model.gguf").name, "");
    assertEquals(folders[0].name, directory);
    assertEquals(folders[3].name, directory);
  }));
