import { expect, test } from "vitest";
import { LongshoreError } from "../../../src/core/errors.ts";
import { createLogger } from "../../../src/core/logger.ts";
import { TokenBucket } from "../../../src/core/token-bucket.ts";
import type { Credential } from "../../../src/images/keyring.ts";
import { Puller } from "../../../src/images/puller.ts";
import type { Image, ImageCredentials } from "../../../src/runtime/runtime.ts";
import { FakeClock, settle } from "../../fakes/clock.ts";

const IMAGE: Image = { id: "sha256:a", tags: [], digests: [], sizeBytes: 1, user: "" };

function credentialOf(username: string): Credential {
  return { auth: { username }, hash: username };
}

/** Pulls that the test ends; what the registry answers to each user is in `answers`. */
class Bench {
  readonly clock = new FakeClock();
  readonly journal: string[] = [];
  readonly warnings: string[] = [];
  readonly answers = new Map<string, Error>();
  readonly release: (() => void)[] = [];
  isDiskFull = false;
  readonly puller: Puller;

  constructor(limit: <T>(work: () => Promise<T>) => Promise<T> = (work) => work(), perSecond = 0) {
    const note = async (what: string): Promise<void> => {
      this.journal.push(what);
      if (this.isDiskFull && what.startsWith("pulled")) throw new Error("ENOSPC");
    };
    this.puller = new Puller({
      runtime: {
        pullImage: async (ref: string, login: ImageCredentials | undefined, signal) => {
          const user = login?.username ?? "nobody";
          this.journal.push(`${user} asks for ${ref}`);
          await new Promise<void>((resolve, reject) => {
            this.release.push(resolve);
            signal.addEventListener("abort", () => reject(new LongshoreError("Aborted", "")));
          });
          const failure = this.answers.get(user);
          if (failure !== undefined) throw failure;
          return IMAGE;
        },
      },
      access: {
        pullBegins: (image) => note(`begin ${image}`),
        pulled: (image, id, credential) =>
          note(`pulled ${image} ${id} ${credential?.hash ?? "openly"}`),
        pullFailed: (image) => note(`failed ${image}`),
      },
      clock: this.clock,
      log: createLogger({
        level: "warn",
        pretty: false,
        write: (line) => this.warnings.push(line),
      }),
      limit,
      pace: new TokenBucket(perSecond, 1),
    });
  }

  pull(image: string, users: readonly string[], signal = new AbortController().signal) {
    const pulled = this.puller.pull(image, users.map(credentialOf), signal);
    pulled.catch(() => undefined);
    return pulled;
  }

  /** Lets the registry answer everything that is asked, until nothing is. */
  async answer(): Promise<void> {
    for (await settle(); this.release.length > 0; await settle())
      for (const release of this.release.splice(0)) release();
  }
}

const denied = (what: string): Error => new LongshoreError("ImagePullFailed", what);

test("credentials are tried in turn until one works, and that one is recorded", async () => {
  const bench = new Bench();
  bench.answers.set("eve", denied("no"));
  const pulled = bench.pull("a:1", ["eve", "alice", "bob"]);
  await bench.answer();
  expect(await pulled).toMatchObject({ image: IMAGE });
  expect(bench.journal).toEqual([
    "begin a:1",
    "eve asks for a:1",
    "alice asks for a:1",
    "pulled a:1 sha256:a alice",
  ]);
});

test.each([
  [["no", "no"], "ImagePullFailed", "no"],
  [["no", "never"], "ImagePullFailed", "[no, never]"],
])("when none works the different words %j are told", async (words, code, message) => {
  const bench = new Bench();
  for (const [index, word] of words.entries()) bench.answers.set(`u${index}`, denied(word));
  const pulled = bench.pull("a:1", ["u0", "u1"]);
  await bench.answer();
  await expect(pulled).rejects.toMatchObject({ code, message });
  expect(bench.journal.at(-1)).toBe("failed a:1");
});

test("an Engine that is away is not asked again with other credentials", async () => {
  const bench = new Bench();
  bench.answers.set("eve", new LongshoreError("EngineUnreachable", "away"));
  const pulled = bench.pull("a:1", ["eve", "alice"]);
  await bench.answer();
  await expect(pulled).rejects.toMatchObject({ code: "EngineUnreachable" });
});

test("the same image with other credentials waits, another image does not", async () => {
  const bench = new Bench();
  for (const [image, user] of [
    ["a:1", "alice"],
    ["a:1", "bob"],
    ["b:1", "bob"],
    ["a:1", "alice"],
  ] as const)
    bench.pull(image, [user]);
  await settle();
  expect(bench.journal.filter((line) => line.includes("asks"))).toEqual([
    "alice asks for a:1",
    "bob asks for b:1",
  ]);
  await bench.answer();
  expect(bench.journal.filter((line) => line.startsWith("pulled a"))).toEqual([
    "pulled a:1 sha256:a alice",
    "pulled a:1 sha256:a bob",
  ]);
});

test("a pull that fails does not hold up the next of its image, and one nobody waits for is not begun", async () => {
  const bench = new Bench();
  bench.answers.set("eve", denied("no"));
  const first = bench.pull("a:1", ["eve"]);
  const leaving = new AbortController();
  const second = bench.pull("a:1", ["alice"], leaving.signal);
  const third = bench.pull("a:1", ["bob"]);
  leaving.abort();
  await bench.answer();
  await expect(first).rejects.toMatchObject({ message: "no" });
  await expect(second).rejects.toMatchObject({ code: "Aborted" });
  expect((await third).image).toBe(IMAGE);
  expect(bench.journal.filter((line) => line.includes("asks"))).toEqual([
    "eve asks for a:1",
    "bob asks for a:1",
  ]);
});

test("who comes back after all others left begins a pull of its own", async () => {
  const bench = new Bench();
  const leaving = new AbortController();
  bench.pull("a:1", ["alice"], leaving.signal);
  await settle();
  leaving.abort();
  await settle();
  const again = bench.pull("a:1", ["alice"]);
  await bench.answer();
  expect((await again).image).toBe(IMAGE);
  expect(bench.journal.filter((line) => line.startsWith("begin"))).toHaveLength(2);
});

test("a full disk costs a warning and the record, not the pull", async () => {
  const bench = new Bench();
  bench.isDiskFull = true;
  const pulled = bench.pull("a:1", []);
  await bench.answer();
  expect((await pulled).image).toBe(IMAGE);
  expect(bench.warnings).toHaveLength(1);
});

test("stop ends what is under way", async () => {
  const bench = new Bench();
  const pulled = bench.pull("a:1", ["alice"]);
  await settle();
  await bench.puller.stop();
  await expect(pulled).rejects.toMatchObject({ code: "Aborted" });
});

test("registries are not asked faster than registryPullQPS allows", async () => {
  const bench = new Bench((work) => work(), 2);
  bench.pull("a", []);
  bench.pull("b", []);
  await settle();
  expect(bench.journal.filter((line) => line.includes("asks"))).toEqual(["nobody asks for a"]);
  await bench.clock.advance(500);
  expect(bench.journal.filter((line) => line.includes("asks"))).toHaveLength(2);
});
