/** What a cgroup read from and wrote to block devices, both versions. Pure but for the reader. Called by usage.ts. */

import type { ReadText } from "./read-text.ts";

export interface BlockIo {
  /** `/dev/sda`, else `MAJOR:MINOR`. */
  readonly device: string;
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly reads: number;
  readonly writes: number;
}

type Counts = { -readonly [K in Exclude<keyof BlockIo, "device">]: number };

const NOTHING: Counts = { readBytes: 0, writeBytes: 0, reads: 0, writes: 0 };

/** io.stat. */
export function parseIoStat(text: string | undefined, read: ReadText): readonly BlockIo[] {
  return [...(text ?? "").matchAll(/^(\d+:\d+) (.+)$/gm)].map(([, number = "", rest = ""]) => {
    const of = (name: string): number =>
      Number(new RegExp(`\\b${name}=(\\d+)`).exec(rest)?.[1] ?? 0);
    return {
      device: nameOf(number, read),
      ...{
        readBytes: of("rbytes"),
        writeBytes: of("wbytes"),
        reads: of("rios"),
        writes: of("wios"),
      },
    };
  });
}

/** blkio.throttle.io_service_bytes and blkio.throttle.io_serviced. */
export function parseBlkio(
  bytes: string | undefined,
  operations: string | undefined,
  read: ReadText,
): readonly BlockIo[] {
  const devices = new Map<string, Counts>();
  const add = (text: string | undefined, reads: keyof Counts, writes: keyof Counts): void => {
    for (const [, number = "", kind, count] of (text ?? "").matchAll(
      /^(\d+:\d+) (Read|Write) (\d+)$/gm,
    )) {
      const counts = devices.get(number) ?? { ...NOTHING };
      counts[kind === "Read" ? reads : writes] = Number(count);
      devices.set(number, counts);
    }
  };
  add(bytes, "readBytes", "writeBytes");
  add(operations, "reads", "writes");
  return [...devices].map(([number, counts]) => ({ device: nameOf(number, read), ...counts }));
}

function nameOf(number: string, read: ReadText): string {
  const name = /^DEVNAME=(.+)$/m.exec(read(`/sys/dev/block/${number}/uevent`) ?? "")?.[1];
  return name === undefined ? number : `/dev/${name}`;
}
