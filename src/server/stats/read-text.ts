/** How the statistics read files of /proc and of cgroups. */

/** Text of a file; undefined when it cannot be read. */
export type ReadText = (path: string) => string | undefined;
